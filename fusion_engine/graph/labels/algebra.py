"""The label algebra: how the labels of tensors go through movement, contraction and elementwise operations.

The labels of a tensor are layers of atoms (see atoms.py): usually one layer a labelled dimension. Data movement is
executed on the labels themselves; contractions and elementwise operations unify the atoms that meet.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from .atoms import Array, Atoms, live_dims

Mode = Literal["add", "mul", "nonlinear"]
"""How an elementwise operation combines its operands: sums keep any basis, products and functions do not."""


@dataclass(frozen=True)
class Labels:
    """Labels of one tensor. `varies` is its shape before expansion: along size 1 all entries are equal."""

    shape: tuple[int, ...]
    layers: list[Array] = field(default_factory=list)
    varies: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.varies) != len(self.shape):
            object.__setattr__(self, "varies", self.shape)

    def unlabelled(self, sizes: Sequence[int]) -> frozenset[int]:
        """Dimensions along which no label lives, of those that have more than one entry by these sizes."""
        return frozenset(d for d, size in enumerate(sizes) if size > 1).difference(*map(live_dims, self.layers))

    def aligned(self, rank: int) -> Labels:
        """With leading dimensions of size 1 up to `rank`, as broadcasting does."""
        lead = (1,) * (rank - len(self.shape))
        return Labels(lead + self.shape, [x.reshape(lead + x.shape) for x in self.layers], lead + self.varies)

    def trailing(self, count: int) -> Labels:
        """With `count` more dimensions of size 1 at the end."""
        tail = (1,) * count
        return Labels(self.shape + tail, [x.reshape(x.shape + tail) for x in self.layers], self.varies + tail)


class Algebra:
    """Operations on labels over one set of atoms."""

    def __init__(self) -> None:
        self.atoms = Atoms()

    # ---- restrictions

    def freeze(self, labels: Labels, tag: str, dims: Iterable[int] | None = None) -> None:
        """Pin the entries (along `dims`, by default all) to their positions."""
        for layer in labels.layers:
            self.freeze_layer(layer, tag, dims)

    def freeze_layer(self, layer: Array, tag: str, dims: Iterable[int] | None = None) -> None:
        pinned = live_dims(layer) if dims is None else live_dims(layer) & set(dims)
        if pinned:
            self.atoms.colour(layer, pinned, tag)
            self.atoms.restrict(layer)

    def restrict(self, labels: Labels) -> None:
        """Allow permutations only."""
        for layer in labels.layers:
            self.atoms.restrict(layer)

    def _pin_where_unlabelled(self, operands: Sequence[Labels], tag: str) -> None:
        """A labelled dimension that meets data varying along it without a label holds positions, not neurons."""
        for a, b in itertools.permutations(operands, 2):
            for layer in a.layers:
                self.freeze_layer(layer, tag, b.unlabelled(b.varies))

    # ---- layers of one tensor made compatible

    def tidy(
        self, layers: Iterable[Array], contracted: frozenset[int] = frozenset(), mode: Mode = "mul"
    ) -> list[Array]:
        """Layers of equal rank that meet in one tensor: equal dimensions unify, nested ones become block and child.

        Along `contracted` dimensions one operand writes what the other reads: signs turn, bases stay free.
        """
        kept: list[Array | None] = []
        for layer in layers:
            current: Array | None = layer if live_dims(layer) else None
            for i, other in enumerate(kept):
                if current is None:
                    break
                if other is not None:
                    kept[i], current = self._meet(other, current, contracted, mode)
            if current is not None:
                kept.append(current)
        return [layer for layer in kept if layer is not None]

    def _meet(
        self, first: Array, second: Array, contracted: frozenset[int], mode: Mode
    ) -> tuple[Array | None, Array | None]:
        atoms, a, b = self.atoms, live_dims(first), live_dims(second)
        if a == b and first.shape == second.shape:
            summed = bool(b & contracted)
            atoms.union(first, second, -1 if summed else 1)
            if mode != "add" and not summed:
                atoms.restrict(first)
            return first, None
        if a < b or b < a:
            block, child = (first, second) if a < b else (second, first)
            atoms.add_parents(child, block)
            atoms.restrict(block)
            if mode == "add":
                atoms.restrict(child)
            # The children carry the block from here on, unless the block itself is summed over next.
            if live_dims(block) & contracted:
                return first, second
            return (None, second) if block is first else (first, None)
        if a & b:
            shared = atoms.block_labels(first, a - b)
            assert shared is not None
            atoms.add_parents(second, shared)
            atoms.restrict(first)
            atoms.restrict(second)
            return None, self._joint(first, second)
        return first, second

    def _joint(self, first: Array, second: Array) -> Array:
        """Labels of the pairs of two layers' entries: they move when either moves."""
        joint = self.atoms.fresh(np.broadcast_shapes(first.shape, second.shape))
        self.atoms.add_parents(joint, first)
        self.atoms.add_parents(joint, second)
        self.atoms.restrict(joint)
        return joint

    # ---- elementwise operations

    def elementwise(self, operands: Sequence[Labels], shape: Sequence[int], mode: Mode, tag: str) -> Labels:
        """Broadcast the operands and let them meet."""
        aligned = [x.aligned(len(shape)) for x in operands]
        if mode == "nonlinear":
            for operand in aligned:
                self.restrict(operand)
        if len(aligned) == 1:
            return Labels(tuple(shape), aligned[0].layers)
        self._pin_where_unlabelled(aligned, tag)
        if mode == "add":
            self._restrict_where_not_matched(aligned)
        return Labels(tuple(shape), self.tidy((x for a in aligned for x in a.layers), mode=mode))

    def _restrict_where_not_matched(self, operands: Sequence[Labels]) -> None:
        """Adding something constant over the neurons does not commute with a change of basis."""
        for a, b in itertools.permutations(operands, 2):
            for layer in a.layers:
                if not any(live_dims(x) == live_dims(layer) for x in b.layers):
                    self.atoms.restrict(layer)

    def affine(
        self, labels: Labels, weight: Labels | None, bias: Labels | None, tag: str, dim: int | None = None
    ) -> Labels:
        """labels * weight + bias, the parameters lying along dimension `dim` (None: along the last ones)."""
        for parameter, mode in ((weight, "mul"), (bias, "add")):
            if parameter is not None:
                if dim is not None:
                    parameter = parameter.trailing(len(labels.shape) - dim - 1)
                labels = self.elementwise([labels, parameter], labels.shape, mode, tag)  # type: ignore[arg-type]
        return labels

    # ---- contraction

    def contract(self, operands: Sequence[tuple[Labels, Sequence[str]]], output: Sequence[str], tag: str) -> Labels:
        """Einstein sum: operands with a letter a dimension; letters not in `output` are summed over."""
        letters = list(dict.fromkeys(x for _, names in operands for x in names))
        summed = frozenset(i for i, x in enumerate(letters) if x not in output)
        full = [self._spread(labels, [letters.index(x) for x in names], len(letters)) for labels, names in operands]
        self._pin_where_unlabelled(full, tag)
        layers = [x for operand in full for x in operand.layers]
        # What is summed over meets first; what remains of it (labels of blocks) then meets the rest.
        meeting = self.tidy([x for x in layers if live_dims(x) & summed], summed)
        remaining = [self.atoms.block_labels(x, summed) for x in meeting]
        result = self.tidy([x for x in remaining if x is not None] + [x for x in layers if not live_dims(x) & summed])
        size: dict[str, int] = {}
        for labels, names in operands:  # batch dimensions may be broadcast
            for x, d in zip(names, labels.shape, strict=True):
                size[x] = max(size.get(x, 1), d)
        order = [letters.index(x) for x in output]
        placed = [x.transpose(order + sorted(summed)).reshape([x.shape[i] for i in order]) for x in result]
        return Labels(tuple(size[x] for x in output), placed)

    @staticmethod
    def _spread(labels: Labels, positions: list[int], rank: int) -> Labels:
        """Put the dimensions of `labels` at `positions` of a tensor with `rank` dimensions."""
        order = np.argsort(positions)

        def spread(sizes: Sequence[int]) -> list[int]:
            at = dict(zip(positions, sizes, strict=True))
            return [at.get(i, 1) for i in range(rank)]

        layers = [x.transpose(order).reshape(spread(x.shape)) for x in labels.layers]
        return Labels(tuple(spread(labels.shape)), layers, tuple(spread(labels.varies)))

    def normalise(self, labels: Labels, dims: Iterable[int]) -> Labels:
        """Normalise over `dims` (softmax, layer norm): entries stay, only permutations remain."""
        over = set(dims)
        for layer in labels.layers:
            if live_dims(layer) & over:
                if live_dims(layer) - over:
                    self.atoms.block_labels(layer, over)
                self.atoms.restrict(layer)
        return labels

    # ---- data movement

    def move(self, labels: Labels, operation: Callable[[torch.Tensor], Any], tag: str = "") -> Labels:
        """Execute a movement with one result on the labels. tag: of a movement that may leave entries behind."""
        return self.move_many(labels, lambda t: [operation(t)], tag)[0]

    def move_many(
        self, labels: Labels, operation: Callable[[torch.Tensor], Sequence[torch.Tensor]], tag: str = ""
    ) -> list[Labels]:
        """Execute a movement with several results (chunk, split, unbind) on the labels.

        What goes into one result and not into another is used in another way: entries stay among those of their result.
        """
        moved = [operation(torch.from_numpy(np.ascontiguousarray(x)).expand(labels.shape)) for x in labels.layers]
        for layer, results in zip(labels.layers, moved, strict=True) if tag else ():
            for number, result in enumerate(results):
                self._pick(layer, result, f"{tag}.{number}")
        varies = operation(torch.empty(labels.varies).expand(labels.shape)) if not moved else moved[0]
        return [
            self._moved(labels, tuple(result.shape), [m[i].numpy() for m in moved]) for i, result in enumerate(varies)
        ]

    def _pick(self, layer: Array, result: torch.Tensor, tag: str) -> None:
        """Colour the entries of a layer that a movement took, if it left some behind."""
        whole = tuple(slice(0, 1) if step == 0 else slice(None) for step in result.stride())  # expanded: all alike
        taken = np.unique(self.atoms.roots(np.unique(result[whole].numpy())))
        if len(taken) < len(np.unique(self.atoms.roots(layer))):
            self.atoms.colour(taken[taken > 0], (), tag)

    def _moved(self, labels: Labels, shape: tuple[int, ...], layers: list[Array]) -> Labels:
        result: list[Array] = []
        for i, layer in enumerate(self._compress(x) for x in layers):
            alive = live_dims(layer)
            if not alive:
                continue
            other = next((x for x in result if live_dims(x) & alive), None)
            source = live_dims(labels.layers[i])
            if other is not None and not any(source & live_dims(x) for x in labels.layers[:i]):
                # A view folded two separately labelled dimensions into one: its entries are pairs.
                result = [x for x in result if x is not other]
                layer = self._joint(layer, other)
            result.append(layer)
        return Labels(shape, result)

    def _compress(self, layer: Array) -> Array:
        """Drop dimensions along which all labels are the same class."""
        for d in range(layer.ndim):
            if layer.shape[d] == 1:
                continue
            head = layer.take([0], d)
            if (layer == head).all():
                layer = head
                continue
            roots = self.atoms.roots(head)
            tail = self.atoms.roots(layer.take([-1], d))
            if (tail == roots).all() and (self.atoms.roots(layer) == roots).all():
                layer = head
        return layer
