"""From labelled entries to sets of interchangeable neurons.

A neuron is a class of atoms together with everything that must move with it (the neurons of a head move with the
head). Neurons are interchangeable when they own the same kinds of entries in every tensor, are pinned by the same
colours, and lie in the same blocks: the same canonical key.
"""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from ..labels.atoms import Array, Atoms, Colour

Slot = tuple[str, int]
"""A tensor's name and the number of one of its labelled dimensions."""


@dataclass(frozen=True)
class Families:
    """Sets of interchangeable neurons.

    movable: a list of families; a family is a list of neurons; a neuron is its classes in canonical order.
    frozen: (slots, colours) of classes that cannot be exchanged. positions: class -> slot -> flat positions.
    """

    movable: list[list[list[int]]]
    frozen: list[tuple[list[Slot], list[Colour]]]
    positions: dict[int, dict[Slot, list[int]]]


def find_families(atoms: Atoms, slots: dict[str, list[Array]]) -> Families:
    """Group the classes of `atoms` into families of interchangeable neurons."""
    _unify_equal_blocks(atoms)
    positions: dict[int, dict[Slot, list[int]]] = defaultdict(lambda: defaultdict(list))
    roots, _ = atoms.table()
    for name, layers in slots.items():
        for number, layer in enumerate(layers):
            for position, root in enumerate(roots[layer].ravel().tolist()):
                positions[root][name, number].append(position)

    canonical = _Canonical(atoms, positions)
    families: dict[Hashable, list[list[int]]] = defaultdict(list)
    for root in canonical.roots:
        key, neuron = canonical.neuron(root)
        if key is not None and any(r in positions for r in neuron):
            families[key, frozenset(canonical.parents[root])].append(neuron)

    movable, frozen = [], []
    for neurons in families.values():
        members = [r for neuron in neurons for r in neuron]
        if len(neurons) > 1 and len(set(members)) == len(members):
            movable.append(neurons)
        else:
            first = neurons[0]
            touched = sorted({slot for r in first for slot in positions.get(r, ())})
            frozen.append((touched, sorted(atoms.colours(first[0]), key=str) if len(neurons) == 1 else []))
    return Families(movable, frozen, positions)


def _unify_equal_blocks(atoms: Atoms) -> None:
    """Blocks that own exactly the same children in some relation always move together: one class."""
    while True:
        children: dict[tuple[int, int], set[int]] = defaultdict(set)
        for root in atoms.all_roots():
            for relation in atoms.parents(root):
                children[relation].add(root)
        blocks: dict[frozenset[int], set[int]] = defaultdict(set)
        for (_, parent), owned in children.items():
            blocks[frozenset(owned)].add(parent)
        equal = [sorted(parents) for parents in blocks.values() if len(parents) > 1]
        if not equal:
            return
        for parents in equal:
            for other in parents[1:]:
                atoms.union(np.array(parents[0]), np.array(other))


class _Canonical:
    """Canonical keys of neurons."""

    def __init__(self, atoms: Atoms, positions: dict[int, dict[Slot, list[int]]]) -> None:
        self.roots = atoms.all_roots()
        self.parents = {root: atoms.parents(root) for root in self.roots}
        self.parent_roots = {root: {p for _, p in pairs} for root, pairs in self.parents.items()}
        self.children: dict[int, set[int]] = defaultdict(set)
        for root, parents in self.parent_roots.items():
            for parent in parents:
                self.children[parent].add(root)
        self._numbers: dict[Hashable, int] = {}
        empty: dict[Slot, list[int]] = {}
        self._own = {
            root: self._number(
                (frozenset((s, len(p)) for s, p in positions.get(root, empty).items()), atoms.colours(root))
            )
            for root in self.roots
        }

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def neuron(self, root: int) -> tuple[int | None, list[int]]:
        """Key of the neuron `root` and all classes that move with it, parents before children; None if cyclic."""
        members, stack = {root}, [root]
        while stack:
            new = self.children.get(stack.pop(), set()) - members
            members |= new
            stack.extend(new)
        order, place = [root], {root: 0}
        key: list[Hashable] = [(self._own[root],)]
        rest = members - {root}
        while rest:
            ready = [c for c in rest if not self.parent_roots[c] & rest]
            if not ready:
                return None, sorted(members)
            described = sorted((self._describe(c, members, place), c) for c in ready)
            for description, child in described:
                place[child] = len(order)
                order.append(child)
                key.append(description)
            rest -= set(ready)
        return self._number(tuple(key)), order

    def _describe(self, child: int, members: set[int], place: dict[int, int]) -> tuple[object, ...]:
        inside = tuple(sorted((relation, place[p]) for relation, p in self.parents[child] if p in members))
        outside = tuple(sorted(pair for pair in self.parents[child] if pair[1] not in members))
        return (self._own[child], inside, outside)
