"""Which neurons of a space are selected, which of them is looked at, and whose group is shown alone.

All of it is said by neurons (parent and index), never by a group's number: under another method, or in another run
of the same parents, the same neurons stay selected and show the groups they have there. URL and session keep it:

    neurons=0:3-40,1:4   the selection; @ and a digest where it is too long for an address: the store has it then
    neuron=0:17          the one that is looked at
    group=0:17           show alone the group that this neuron is in
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from urllib.parse import quote

import numpy as np

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import read_neurons

from ..shared import state
from ..shared.space import SpaceView

_LONGEST = 1200  # characters, quoted: an address stays well below the 2,000 that everything accepts
_PLAIN = re.compile(r"[^,;\s]+")


def get(view: SpaceView) -> np.ndarray:
    """(m,) int64, ascending: the selected neurons as indices into the view's arrays. What does not fit this space is
    left out; `problem` says so."""
    return _read(view)[0]


def put(view: SpaceView, indices: Iterable[int]) -> None:
    """Select these neurons and no others."""
    text = written(view, indices)
    if len(quote(text)) > _LONGEST:
        text = f"@{store.keep_text('selection', text)}"
    state.put(neurons=text or None)


def focus(view: SpaceView) -> int | None:
    """The neuron that is looked at, as an index into the view's arrays."""
    return _one(view, "neuron")


def put_focus(view: SpaceView, index: int | None) -> None:
    state.put(neuron=None if index is None else str(view.neuron_of(index)))


def isolated(view: SpaceView) -> int | None:
    """The number, in this view's grouping, of the group that is shown alone."""
    neuron = _one(view, "group")
    group = -1 if neuron is None else int(view.arrays["group"][neuron])
    return group if group >= 0 else None


def isolate(view: SpaceView, group: int | None) -> None:
    """Colour a group alone, remembered by its most important neuron; None shows all."""
    members = np.flatnonzero(view.arrays["group"] == group) if group is not None else np.zeros(0, np.int64)
    if not len(members):
        state.put(group=None)
    else:
        best = int(members[np.argmax(view.arrays["importance"][members])])
        state.put(group=str(view.neuron_of(best)), colour="group")


def problem(view: SpaceView) -> str:
    """Why the address's selection is not, or not all, selected: one line, or ''."""
    return _read(view)[1]


def read(view: SpaceView, text: str | Iterable[str]) -> np.ndarray:
    """(m,) indices of the neurons that a text names, ascending; FusionError in one line where it names none."""
    if isinstance(text, str):  # names that hold what separates neurons, as numbered ones do, are read all the same
        for number, name in enumerate(view.names):
            text = text if _PLAIN.fullmatch(name) else text.replace(f"{name}:", f"{number}:")
    named = read_neurons(text, view.names, view.sizes)
    return np.unique(np.array([view.index_of(neuron) for neuron in named], np.int64))


def written(view: SpaceView, indices: Iterable[int], names: Sequence[str] | None = None) -> str:
    """'0:3-40,1:4': neurons by their parent's number, or name if `names` are given; runs of them as ranges."""
    chosen = np.unique(np.fromiter(indices, np.int64))
    parts = []
    # Neighbours of one parent have the same difference between place in the list and index.
    keyed = ((int(view.arrays["parent"][i]), int(i) - place, int(view.arrays["neuron"][i]))
             for place, i in enumerate(chosen))
    for (parent, _), run in groupby(keyed, lambda entry: entry[:2]):
        numbers = [neuron for _, _, neuron in run]
        last = f"-{numbers[-1]}" if len(numbers) > 1 else ""
        parts.append(f"{names[parent] if names else parent}:{numbers[0]}{last}")
    return ",".join(parts)


def named(view: SpaceView) -> str:
    """The selection as one types it, '' where that would be too long to read."""
    text = written(view, get(view), view.names).replace(",", ", ")
    return text if len(text) <= _LONGEST else ""


def _read(view: SpaceView) -> tuple[np.ndarray, str]:
    text = state.get("neurons")
    found: list[int] = []
    try:
        if text.startswith("@"):
            text = store.read_text("selection", text[1:])
        for neuron in read_neurons(text, [str(p) for p in range(len(view.names))]):
            if neuron.index < view.sizes[neuron.parent]:
                found.append(view.index_of(neuron))
            else:
                return _sorted(found), "Some of the neurons that the address names are not in this space."
    except FusionError as error:
        return _sorted(found), f"The address's selection cannot be read: {error}"
    return _sorted(found), ""


def _sorted(found: list[int]) -> np.ndarray:
    return np.unique(np.array(found, np.int64))


def _one(view: SpaceView, key: str) -> int | None:
    text = state.get(key)
    if not text:
        return None
    if text.isdecimal() and len(text) < 10:  # addresses of earlier versions: an index into the arrays
        return int(text) if int(text) < view.total else None
    try:
        found = read(view, text)
    except FusionError:
        return None
    return int(found[0]) if len(found) == 1 else None
