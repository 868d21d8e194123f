"""Which spaces lie inside the neurons of a block space: the channels inside attention heads or channel groups; and
which lie across them: channels that all heads have in common, as a norm of queries or keys that the heads share."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fusion_engine.core.types import Site, Space


@dataclass(frozen=True)
class Nest:
    """A block space and what its neurons (heads, groups) hold.

    block: name of the block space of n neurons. kinds[t][i]: the space of kind t inside neuron i (queries with keys
    are one kind, values another). across: spaces whose every neuron has as many entries in each neuron of the block:
    rows and columns of one grid. sites: where the block's entries are read, so that every kind is seen. loose: at each
    of these sites, the positions among a neuron's entries that belong to no such space and keep their order. unseen:
    spaces inside that cannot be read together with the block, and so not be compared: they keep their order too.
    """

    block: str
    kinds: tuple[tuple[str, ...], ...]
    loose: tuple[np.ndarray, ...]
    sites: tuple[Site, ...]
    across: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def inside(self) -> tuple[str, ...]:
        """Names of all spaces that are grouped together with the block."""
        return (*itertools.chain(*self.kinds), *self.across, *self.unseen)


def find_nests(spaces: Mapping[str, Space]) -> dict[str, Nest]:
    """By block space, in dependency order. Spaces inside several blocks belong to the first; of two blocks that lie
    across each other the one that holds others."""
    taken: set[str] = set()
    across: dict[str, list[str]] = {}
    blocks = [space for space in spaces.values() if space.block]
    for a, b in itertools.combinations(blocks, 2):
        if not taken & {a.name, b.name} and _is_grid(a, b):
            holds = [any(_holder(x, s) is not None for s in spaces.values() if s is not x) for x in (a, b)]
            block, other = (b, a) if holds[1] and not holds[0] else (a, b)
            across.setdefault(block.name, []).append(other.name)
            taken.add(other.name)
    nests = {}
    for block in blocks:
        if block.name in taken:
            continue
        inner: dict[int, list[str]] = {i: [] for i in range(block.size)}
        for space in spaces.values():
            holder = None if space.name in taken or space is block else _holder(block, space)
            if holder is not None:
                inner[holder].append(space.name)
        ordered = [sorted(names, key=lambda n: _place(spaces[n])) for names in inner.values()]
        shapes = [[spaces[n].size for n in names] for names in ordered]
        kinds = tuple(zip(*ordered, strict=True)) if all(s == shapes[0] for s in shapes) else ()
        sites = _reading_sites(spaces, block, kinds)
        kinds = tuple(kind for kind in kinds if any(_is_seen(spaces, kind, site) for site in sites))
        unseen = tuple(name for names in ordered for name in names if not any(name in kind for kind in kinds))
        taken |= {block.name, *(name for names in ordered for name in names)}
        covering = [*(kind[0] for kind in kinds), *across.get(block.name, ())]
        loose = _loose([spaces[name] for name in covering], sites)
        nests[block.name] = Nest(block.name, kinds, loose, sites, tuple(across.get(block.name, ())), unseen)
    return nests


def _is_grid(a: Space, b: Space) -> bool:
    """Whether every neuron of a has entries in every neuron of b wherever both are read, as many in each."""
    shared = [(x.index, y.index) for x in a.sites for y in b.sites if x.node == y.node and x.dims == y.dims]
    if min(a.size, b.size) < 2 or not shared:
        return False
    for rows, columns in shared:
        owner = dict(zip(columns.ravel().tolist(), np.arange(columns.size) // columns.shape[1], strict=True))
        met = np.array([[owner.get(p, -1) for p in row] for row in rows.tolist()])
        counts = {tuple(np.bincount(row[row >= 0], minlength=len(columns)).tolist()) for row in met}
        if len(counts) != 1 or len(set(next(iter(counts)))) != 1 or not max(next(iter(counts))):
            return False
    return True


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


def _is_seen(spaces: Mapping[str, Space], kind: Iterable[str], site: Site) -> bool:
    """Whether the entries of a block at `site` are also those of all spaces of a kind."""
    places = [_at(spaces[name], site) for name in kind]
    return all(place is not None and bool(np.isin(place.index, site.index).all()) for place in places)


def _at(space: Space, site: Site) -> Site | None:
    """Where a space is seen in the tensor in which a block is read."""
    return next((s for s in space.sites if (s.node, s.dims) == (site.node, site.dims)), None)


def _reading_sites(spaces: Mapping[str, Space], block: Space, kinds: Iterable[tuple[str, ...]]) -> tuple[Site, ...]:
    """The block's features, and for a kind that is not seen there the first place that shows both."""
    sites = list(block.features)
    for kind in kinds:
        if not any(_is_seen(spaces, kind, site) for site in sites):
            sites += [site for site in block.sites if _is_seen(spaces, kind, site)][:1]
    return tuple(sites)


def _loose(inside: Iterable[Space], sites: Iterable[Site]) -> tuple[np.ndarray, ...]:
    inside, loose = list(inside), []
    for site in sites:
        covered = [place.index.ravel() for place in (_at(space, site) for space in inside) if place is not None]
        owned = np.concatenate(covered) if covered else np.zeros(0, dtype=np.int64)
        loose.append(np.flatnonzero(~np.isin(site.index[0], owned)))
    return tuple(loose)
