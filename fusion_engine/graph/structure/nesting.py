"""Which spaces lie inside the neurons of a block space: the channels inside attention heads or channel groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_engine.core.types import Space


@dataclass(frozen=True)
class Nest:
    """A block space and what its neurons (heads, groups) hold.

    block: name of the block space of n neurons. kinds[t][i]: the space of kind t inside neuron i (queries with keys
    are one kind, values another). loose: at each feature site of the block, the positions among a neuron's entries
    that belong to no inner space and keep their order.
    """

    block: str
    kinds: tuple[tuple[str, ...], ...]
    loose: tuple[np.ndarray, ...]


def find_nests(spaces: Mapping[str, Space]) -> dict[str, Nest]:
    """By block space, in dependency order. Spaces inside several blocks belong to the first."""
    taken: set[str] = set()
    nests = {}
    for block in spaces.values():
        if not block.block or block.name in taken:
            continue
        inner: dict[int, list[str]] = {i: [] for i in range(block.size)}
        for space in spaces.values():
            holder = None if space.name in taken or space is block else _holder(block, space)
            if holder is not None:
                inner[holder].append(space.name)
        ordered = [sorted(names, key=lambda n: _place(spaces[n])) for names in inner.values()]
        shapes = [[spaces[n].size for n in names] for names in ordered]
        kinds = tuple(zip(*ordered, strict=True)) if all(s == shapes[0] for s in shapes) else ()
        taken |= {block.name, *(name for kind in kinds for name in kind)}
        nests[block.name] = Nest(block.name, kinds, _loose(spaces, block, [kind[0] for kind in kinds]))
    return nests


def _holder(block: Space, space: Space) -> int | None:
    """The neuron of `block` that holds all of `space` wherever both are read; None if there is none."""
    found: set[int] = set()
    for site in space.features:
        other = next((s for s in block.sites if s.node == site.node and s.dims == site.dims), None)
        if other is None:
            continue
        holders = [i for i, row in enumerate(other.index) if np.isin(site.index, row).all()]
        if len(holders) != 1:
            return None
        found.update(holders)
    return found.pop() if len(found) == 1 else None


def _place(space: Space) -> tuple[str, int]:
    """Inner spaces of the same kind come in the same order in every neuron: by where they are first read."""
    return space.features[0].node, int(space.features[0].index.min())


def _loose(spaces: Mapping[str, Space], block: Space, inside: Sequence[str]) -> tuple[np.ndarray, ...]:
    loose = []
    for site in block.features:
        covered = [s.index.ravel() for n in inside for s in spaces[n].features if s.node == site.node]
        owned = np.concatenate(covered) if covered else np.zeros(0, dtype=np.int64)
        loose.append(np.flatnonzero(~np.isin(site.index[0], owned)))
    return tuple(loose)
