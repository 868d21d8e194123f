"""Atoms: the labels of single tensor entries along their dimensions, in a union-find with signs.

Two atoms in one class are the same neuron. The sign of an atom says how it moves under a change of basis M of its
class: +1 like a feature (T <- M T), -1 like a weight that reads features (T <- M^-T T). Classes carry

* parents: block labels that must move when they move (a head is the parent of its neurons),
* colours: what pins an entry to its position, so that only entries of equal colours are interchangeable,
* flags:   'perm' (only permutations keep the function), 'orth' (only orthogonal maps do).
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np

Array = np.ndarray
"""Integer array of atoms, of the rank of the labelled tensor, of size 1 along dimensions it does not live on."""

Colour = tuple[object, ...]


def live_dims(layer: Array) -> frozenset[int]:
    """Dimensions along which the labels of a layer live."""
    return frozenset(d for d, size in enumerate(layer.shape) if size > 1)


class Atoms:
    """Union-find over atoms. Atom 0 means 'no label'."""

    def __init__(self) -> None:
        self._up, self._sign = [0], [1]
        self._parents: dict[int, set[tuple[int, int]]] = {}
        self._colours: dict[int, set[Colour]] = {}
        self._flags: dict[int, set[str]] = {}
        self._relations = 0

    # ---- classes

    def fresh(self, shape: Iterable[int]) -> Array:
        """New atoms, each its own class."""
        shape = tuple(shape)
        atoms = np.arange(len(self._up), len(self._up) + int(np.prod(shape)))
        self._up.extend(atoms.tolist())
        self._sign.extend([1] * atoms.size)
        return atoms.reshape(shape)

    def find(self, atom: int) -> int:
        """Representative of the atom's class."""
        up, sign = self._up, self._sign
        path = []
        while up[atom] != atom:
            path.append(atom)
            atom = up[atom]
        product = 1
        for visited in reversed(path):
            product *= sign[visited]
            up[visited], sign[visited] = atom, product
        return atom

    def all_roots(self) -> list[int]:
        """Representatives of all classes, in order of creation."""
        return sorted({self.find(a) for a in range(1, len(self._up))})

    def roots(self, layer: Array) -> Array:
        """Representatives of every atom of a layer."""
        unique, inverse = np.unique(layer, return_inverse=True)
        found = np.array([self.find(a) for a in unique.tolist()], dtype=np.int64)
        return found[inverse].reshape(layer.shape)

    def table(self) -> tuple[Array, Array]:
        """(roots, signs): the representative of every atom and its sign, while nothing more is unified."""
        roots = np.array([self.find(atom) for atom in range(len(self._up))], dtype=np.int64)
        return roots, np.array(self._sign, dtype=np.int64)

    def union(self, first: Array, second: Array, sign: int = 1) -> None:
        """Entries of two layers (broadcast) are the same neurons; sign -1 where one reads what the other writes."""
        for a, b in _pairs(first, second):
            ra, rb = self.find(a), self.find(b)
            relative = self._sign[a] * self._sign[b] * sign
            if ra == rb:
                # Moving like a feature and like its reader at once leaves the orthogonal maps.
                if relative != 1:
                    self._flags.setdefault(ra, set()).add("orth")
                continue
            ra, rb = min(ra, rb), max(ra, rb)
            self._up[rb], self._sign[rb] = ra, relative
            self._parents.setdefault(ra, set()).update(self._parents.pop(rb, ()))
            self._colours.setdefault(ra, set()).update(self._colours.pop(rb, ()))
            self._flags.setdefault(ra, set()).update(self._flags.pop(rb, ()))

    # ---- attributes of classes

    def add_parents(self, children: Array, parents: Array) -> None:
        """Entries of `children` move with their block in `parents`. Every call is a relation of its own."""
        self._relations += 1
        for child, parent in _pairs(children, parents):
            root = self.find(child)
            if root != self.find(parent):
                self._parents.setdefault(root, set()).add((self._relations, parent))

    def parents(self, root: int) -> set[tuple[int, int]]:
        """(relation, representative of the parent) of a class."""
        found = ((relation, self.find(p)) for relation, p in self._parents.get(root, ()))
        return {(relation, p) for relation, p in found if p != root}

    def parent_roots(self, root: int) -> set[int]:
        """Representatives of a class's parents."""
        return {p for _, p in self.parents(root)}

    def colour(self, layer: Array, dims: Iterable[int], tag: str) -> None:
        """Pin the entries of a layer to their coordinates along `dims`."""
        ordered = sorted(dims)
        for index in np.ndindex(layer.shape):
            if layer[index]:
                colours = self._colours.setdefault(self.find(int(layer[index])), set())
                colours.add((tag, *(index[d] for d in ordered)))

    def colours(self, root: int) -> frozenset[Colour]:
        """Everything that pins a class."""
        return frozenset(self._colours.get(root, ()))

    def restrict(self, layer: Array, flag: str = "perm") -> None:
        """Only permutations of these entries may keep the function."""
        for atom in np.unique(layer).tolist():
            if atom:
                self._flags.setdefault(self.find(atom), set()).add(flag)

    def flags(self, root: int) -> set[str]:
        """'perm' and 'orth' restrictions of a class."""
        return self._flags.get(root, set())

    def pinned(self, layer: Array) -> bool:
        """Whether every entry has a colour set of its own: positions, not neurons."""
        if not self._colours:
            return False
        roots = {self.find(a) for a in np.unique(layer).tolist() if a}
        sets = {self.colours(r) for r in roots}
        return bool(roots) and frozenset() not in sets and len(sets) == len(roots)

    # ---- blocks

    def block_labels(self, layer: Array, dims: Iterable[int]) -> Array | None:
        """What remains of a layer when `dims` are summed or normalised over: labels of the blocks.

        None if nothing remains. Blocks whose entries already share exactly one parent get that parent.
        """
        alive = live_dims(layer)
        keep = sorted(alive - set(dims))
        if not keep or len(keep) == len(alive):
            return layer if keep else None
        blocks = np.moveaxis(layer, keep, range(len(keep))).reshape(*(layer.shape[d] for d in keep), -1)
        shared = {
            index: set.intersection(*(self.parent_roots(self.find(int(a))) if a else set() for a in blocks[index]))
            for index in np.ndindex(blocks.shape[:-1])
        }
        uses = Counter(parent for parents in shared.values() for parent in parents)
        own = {index: sorted(p for p in parents if uses[p] == 1) for index, parents in shared.items()}
        shape = [size if d in keep else 1 for d, size in enumerate(layer.shape)]
        if all(own.values()):
            return np.array([own[index][0] for index in np.ndindex(blocks.shape[:-1])]).reshape(shape)
        fresh = self.fresh(shape)
        self.add_parents(layer, fresh)
        self.restrict(fresh)
        return fresh


def _pairs(first: Array, second: Array) -> set[tuple[int, int]]:
    """Distinct pairs of atoms at equal positions, where both are labelled."""
    a, b = np.broadcast_arrays(first, second)
    return {(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True) if x and y}
