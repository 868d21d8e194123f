"""What the regression mean needs to know of a layer's inputs X in one parent: X^T X, or X while it has few rows."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...core.types import Layer
from ...stats import ConvMoments, layer_rows
from ...stats.conv_moments import input_moments
from ...stats.moments import bordered

_ROUNDING = 1e-6  # of the largest mean square of a channel


class InputGram:
    """[X 1]^T [X 1] of a layer, float64; the column of ones only where the layer has a bias.

    layer, shape: the layer and its weight's shape. Columns are those of weight.reshape(out, -1). A convolution with g
    groups has one matrix a group. Memory does not grow with the number of samples, unless keep_rows asks for [X 1]
    itself, which takes g = 1.
    """

    def __init__(self, layer: Layer, shape: Sequence[int], bias: bool, keep_rows: bool = False) -> None:
        self._layer, self._shape, self._bias = layer, tuple(shape), bias
        self._columns = math.prod(self._shape[1:])
        self._rows: list[Tensor] | None = [] if keep_rows else None
        self._groups: Tensor | None = None
        self._is_map = ConvMoments.applies(layer, self._shape)
        known_by_rows = keep_rows or layer.options.get("groups", 1) != 1
        self._moments = None if known_by_rows else input_moments(layer, self._shape, 0)

    @property
    def is_linear(self) -> bool:
        """Whether any rows of inputs can be added, and not only whole samples."""
        return self._layer.kind == "linear"

    def add(self, x: Tensor) -> None:
        """Add the layer's input x (samples, ...)."""
        if isinstance(self._moments, ConvMoments):
            self._moments.update(x, x.new_zeros(len(x) * math.prod(x.shape[2:]), 0))
            return
        for rows in layer_rows(self._layer, x, self._shape):
            if self._rows is not None:
                self._rows.append(self._with_ones(rows))
            elif self._moments is not None:
                self._moments.update(rows, rows.new_zeros(len(rows), 0))
            else:
                inputs = self._with_ones(rows.reshape(len(rows), -1, self._columns).movedim(1, 0).double())
                product = inputs.transpose(1, 2) @ inputs
                self._groups = product if self._groups is None else self._groups + product

    def read(self) -> Tensor:
        """(groups, d, d), or (rows, d) where rows are kept: a new tensor. d is the columns, and one more, the last,
        with a bias."""
        if self._rows is not None:
            rows = torch.cat(self._rows)
            if self._is_map:
                inputs = rows[:, : self._columns]
                inputs *= self._seen(torch.linalg.vector_norm(inputs, dim=0, dtype=torch.float64).square())
            return rows
        if self._moments is None:
            assert self._groups is not None
            return self._groups.clone()
        xx, sums = self._moments.xx, self._moments.x_sum
        if self._is_map and not bool((seen := self._seen(xx.diagonal())).all()):
            xx.mul_(seen).mul_(seen[:, None])
        return (bordered(xx, sums, self._moments.count) if self._bias else xx)[None]

    def _with_ones(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, rows.new_ones(*rows.shape[:-1], 1)], -1) if self._bias else rows

    def _seen(self, squares: Tensor) -> Tensor:
        """Which columns of patches of a map are inputs, by their sums of squares (columns,): a position of the kernel
        may never be on the map (small maps), where equal sums in float32 differ by rounding."""
        by_channel = squares.reshape(self._shape[1], -1)
        return (by_channel > _ROUNDING * by_channel.max(1, keepdim=True).values).flatten()
