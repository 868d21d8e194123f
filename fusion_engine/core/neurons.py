"""What a neuron of a parent is called: `parent_0:17`, typed and pasted the same everywhere. Numbers count from 0."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import FusionError
from .registry import nearest

_MOST = 100_000
_RANGE = re.compile(r"(?P<parent>.+):(?P<first>[0-9]{1,9})(?:-(?P<last>[0-9]{1,9}))?", re.DOTALL)


@dataclass(frozen=True, order=True)
class Neuron:
    """A neuron of one space: the parent's number and the neuron's index in the space, both from 0."""

    parent: int
    index: int

    def __str__(self) -> str:
        return f"{self.parent}:{self.index}"


def written(neuron: Neuron, names: Sequence[str]) -> str:
    """'parent_0:17'. names: the parents', made distinct."""
    return f"{names[neuron.parent]}:{neuron.index}"


def read_neuron(text: str, names: Sequence[str], sizes: Sequence[int] | None = None) -> Neuron:
    """The neuron that 'parent_0:17' or '0:17' names. A parent's name goes before its number.

    names: the parents'. sizes: how many neurons each has in the space, where that is known. FusionError in one line
    for anything else.
    """
    found = _read(text, names, sizes)
    if len(found) != 1:
        raise FusionError(f"{_shown(text)} names {len(found)} neurons where one is wanted")
    return found[0]


def read_neurons(text: str | Iterable[str], names: Sequence[str], sizes: Sequence[int] | None = None) -> list[Neuron]:
    """The neurons that a list names, each once, in its order: 'parent_0:17, 1:4, parent_1:3-7', separated by commas,
    semicolons, spaces or new lines. Parents whose names hold such signs go by number. FusionError as `read_neuron`."""
    parts = re.split(r"[,;\s]+", text) if isinstance(text, str) else text
    found: dict[Neuron, None] = {}
    for part in parts:
        if part:
            found |= dict.fromkeys(_read(part, names, sizes))
            if len(found) > _MOST:
                raise FusionError(f"more than {_MOST:,} neurons are named")
    return list(found)


def _read(text: str, names: Sequence[str], sizes: Sequence[int] | None) -> list[Neuron]:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise FusionError(f"{_shown(text)} is not a neuron; write parent:index, for example {names[0]}:17")
    name = match["parent"]
    if name in names:
        parent = list(names).index(name)
    elif name.isdecimal() and len(name) < 4 and int(name) < len(names):
        parent = int(name)
    else:
        raise FusionError(f"{_shown(text)}: there is no parent {_shown(name)}{nearest(name, names)}")
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    if last < first:
        raise FusionError(f"{_shown(text)}: a range goes from the smaller index to the larger")
    if last - first >= _MOST:
        raise FusionError(f"more than {_MOST:,} neurons are named")
    if sizes is not None and last >= sizes[parent]:
        raise FusionError(f"{_shown(text)}: {names[parent]} has neurons 0 to {sizes[parent] - 1} here")
    return [Neuron(parent, index) for index in range(first, last + 1)]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
