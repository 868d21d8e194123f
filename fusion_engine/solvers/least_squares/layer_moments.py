"""What least squares knows of one layer's inputs X and targets T: the rows while they are few, else their moments."""

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ...core.types import Layer
from ...stats import ConvMoments, layer_rows
from ...stats.conv_moments import input_moments


class LayerMoments:
    """X^T X, X^T T and T^T T of a layer; X has a column of ones at the end if the layer has a bias.

    layer, shape: the layer and its weight's shape. outputs: columns of T. keep_rows: keep X and T themselves.
    joint: keep all of T^T T, not only its diagonal. Add all rows first, then read.
    """

    def __init__(
        self, layer: Layer, shape: Sequence[int], outputs: int, bias: bool, keep_rows: bool, joint: bool
    ) -> None:
        self.layer, self.shape, self.outputs, self.bias = layer, tuple(shape), outputs, bias
        self.keep_rows, self.joint = keep_rows, joint
        self.columns = math.prod(self.shape[1:])
        self.count = 0
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._moments = None if keep_rows else input_moments(layer, self.shape, outputs)
        self._targets: Tensor | None = None
        self.merge: Tensor | None = None
        """(n, outputs) matrix applied to every target row when it is read, t -> merge t."""

    def add(self, x: Tensor, t: Tensor) -> None:
        """Add the layer's input x (samples, ...) and target rows t (samples * positions, outputs)."""
        self.count += len(t)
        square = t.double().T @ t.double() if self.joint else t.square().sum(0).double()
        self._targets = square if self._targets is None else self._targets + square
        if isinstance(self._moments, ConvMoments):
            self._moments.update(x, t)
            return
        first = 0
        for chunk in layer_rows(self.layer, x, self.shape):
            targets = t[first : first + len(chunk)]
            first += len(chunk)
            if self._moments is None:
                self._kept.append((chunk, targets))
            else:
                self._moments.update(chunk, targets)

    @cached_property
    def rows(self) -> tuple[Tensor, Tensor]:
        """X and unmerged T in float64, where rows are kept."""
        x = torch.cat([x for x, _ in self._kept]).double()
        t = torch.cat([t for _, t in self._kept]).double()
        return (torch.cat([x, x.new_ones(len(x), 1)], 1) if self.bias else x), t

    @cached_property
    def _products(self) -> tuple[Tensor, Tensor]:
        assert self._moments is not None
        return self._moments.with_bias() if self.bias else (self._moments.xx, self._moments.xf)

    @property
    def xx(self) -> Tensor:
        """X^T X, where rows are not kept."""
        return self._products[0]

    def xt(self, outputs: slice | Tensor = slice(None)) -> Tensor:
        """X^T T for some of the (merged) outputs, where rows are not kept."""
        return self._merged(self._products[1], outputs)

    def t(self, outputs: slice | Tensor = slice(None)) -> Tensor:
        """T for some of the (merged) outputs, where rows are kept."""
        return self._merged(self.rows[1], outputs)

    def square(self) -> float:
        """Sum of squares of X, without the column of ones."""
        if self.keep_rows:
            return sum(float(x.double().square().sum()) for x, _ in self._kept)
        return float(self.xx.diagonal()[: self.columns].sum())

    def targets(self) -> Tensor:
        """T^T T of the unmerged targets; needs `joint`."""
        assert self.joint
        assert self._targets is not None
        return self._targets

    def target_square(self, outputs: slice | Tensor = slice(None)) -> float:
        """||T||^2 of some of the (merged) outputs."""
        assert self._targets is not None
        if self.merge is None:
            return float((self._targets.diagonal() if self.joint else self._targets)[outputs].sum())
        chosen = self.merge[outputs]
        return float((chosen @ self.targets() * chosen).sum())

    def _merged(self, t: Tensor, outputs: slice | Tensor) -> Tensor:
        return t[:, outputs] if self.merge is None else t @ self.merge[outputs].T
