"""How members are laid out along a dimension, so that they can be found again at other widths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.types import Member


@dataclass(frozen=True)
class Placement:
    """Positions along one dimension: `index[m]` (n, k) of every member, `kept` of everything else, and the total."""

    index: list[np.ndarray]
    kept: np.ndarray
    total: int


@dataclass(frozen=True)
class Layout:
    """Consecutive segments of a dimension.

    A segment is (member, entries): neuron after neuron, each with the `entries` of its k; or (None, length) of
    positions that belong to no space.
    """

    segments: tuple[tuple[int, np.ndarray] | tuple[None, int], ...]
    entries: tuple[int, ...]

    def place(self, sizes: Sequence[int]) -> Placement:
        """Positions when the members' spaces have these numbers of neurons."""
        index = [np.zeros((n, k), dtype=np.int64) for n, k in zip(sizes, self.entries, strict=True)]
        kept, start = [], 0
        for member, content in self.segments:
            if member is None:
                assert isinstance(content, int)
                kept.append(np.arange(start, start + content))
                start += content
            else:
                assert isinstance(content, np.ndarray)
                rows = np.arange(sizes[member])[:, None] * len(content) + np.arange(len(content))
                index[member][:, content] = start + rows
                start += rows.size
        return Placement(index, np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64), start)


def read_layout(members: Sequence[Member], names: Sequence[str], total: int) -> Layout:
    """Layout of the members that share one dimension of `total` entries; `names` are their spaces' names.

    Raises UnsupportedModelError naming the space if its neurons do not follow each other in order.
    """
    owner, neuron = np.full(total, -1), np.zeros(total, dtype=np.int64)
    entry = np.zeros(total, dtype=np.int64)
    for number, member in enumerate(members):
        if len(member.dims) > 1 or (owner[member.index] >= 0).any():
            raise _irregular(names[number], member.tensor)
        owner[member.index] = number
        neuron[member.index] = np.arange(member.index.shape[0])[:, None]
        entry[member.index] = np.arange(member.index.shape[1])

    segments: list[tuple[int, np.ndarray] | tuple[None, int]] = []
    position = 0
    while position < total:
        number = int(owner[position])
        same = (owner[position:] == number) & ((neuron[position:] == 0) | (number < 0))
        run = int(np.argmin(same)) if not same.all() else len(same)
        if number < 0:
            segments.append((None, run))
            position += run
            continue
        entries = entry[position : position + run]
        index = members[number].index
        expected = position + np.arange(len(index))[:, None] * run + np.arange(run)
        if run == 0 or not np.array_equal(index[:, entries], expected):
            raise _irregular(names[number], members[number].tensor)
        segments.append((number, entries))
        position += len(index) * run
    return Layout(tuple(segments), tuple(m.index.shape[1] for m in members))


def _irregular(space: str, tensor: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"space {space!r} cannot change its width: its neurons are interleaved in {tensor!r}; use parents of equal "
        "width and a grouping that keeps the width"
    )
