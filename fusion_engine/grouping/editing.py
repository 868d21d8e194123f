"""Groupings edited by hand: which spaces can be, and the edits of a recipe applied to what it grouped or was given."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..core.edits import Edit
from ..core.edits.applying import edited_grouping, in_words
from ..core.types import Grouping
from ..graph import Trace


def refused_spaces(trace: Trace) -> dict[str, str]:
    """By space why its grouping cannot be edited: heads and channel groups go with what is inside them, neuron by
    neuron, or queries would meet the keys of other neurons."""
    found = {}
    for block, nest in trace.nests.items():
        for name in (block, *nest.inside):
            what = "is of heads or channel groups" if name == block else f"lies inside the heads or groups of {block!r}"
            found[name] = f"space {name!r} {what}, which are matched whole; its grouping cannot be edited by hand"
    return found


def by_space(edits: Sequence[Edit]) -> dict[str, tuple[Edit, ...]]:
    """The edits of every space, in their order."""
    found: dict[str, list[Edit]] = {}
    for edit in edits:
        found.setdefault(edit.space, []).append(edit)
    return {name: tuple(own) for name, own in found.items()}


def edited(grouping: Grouping, edits: Sequence[Edit], importance: Sequence[Mapping[str, Tensor]]) -> Grouping:
    """`edited_grouping` with the importances of all parents' neurons, by parent and space."""
    scores = [scores[grouping.space].double().cpu().numpy() for scores in importance]
    return edited_grouping(grouping, edits, np.concatenate(scores))


def note(edits: Mapping[str, Sequence[Edit]]) -> str:
    """'edited by hand: fc1 3 neurons moved; fc2 1 neuron pinned'."""
    return "edited by hand: " + "; ".join(f"{name} {in_words(own)}" for name, own in edits.items())
