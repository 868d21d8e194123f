"""X^T X of one layer's inputs, added up batch by batch: what the regression mean needs of a parent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.types import Layer
from ..stats import GramAccumulator, layer_rows
from ..stats.conv_moments import ConvMoments

__all__ = ["InputGram"]

_ROUNDING = 1e-6  # of the largest mean square of a channel


class InputGram:
    """[X 1]^T [X 1] of a layer, float64; the column of ones only where the layer has a bias.

    layer, shape: the layer and its weight's shape. Columns are those of weight.reshape(out, -1). A convolution with g
    groups has one matrix a group. Memory does not grow with the number of samples.
    """

    def __init__(self, layer: Layer, shape: Sequence[int], bias: bool) -> None:
        self._layer, self._shape, self._bias = layer, tuple(shape), bias
        self._columns = math.prod(self._shape[1:])
        self._grouped = layer.options.get("groups", 1) != 1
        self._conv = None
        if ConvMoments.applies(layer, self._shape):
            self._conv = ConvMoments(self._shape[1], (self._shape[2], self._shape[3]), 0)
        self._plain = GramAccumulator(self._columns, precision="mixed")
        self._groups: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Add the layer's input x (samples, ...)."""
        if self._conv is not None:
            positions = math.prod(x.shape[2:])
            self._conv.update(x, x.new_zeros(len(x) * positions, 0))
            return
        for rows in layer_rows(self._layer, x, self._shape):
            if self._grouped:
                inputs = rows.reshape(len(rows), -1, self._columns).movedim(1, 0).double()
                if self._bias:
                    inputs = torch.cat([inputs, inputs.new_ones(*inputs.shape[:2], 1)], 2)
                product = inputs.transpose(1, 2) @ inputs
                self._groups = product if self._groups is None else self._groups + product
            else:
                self._plain.update(rows)

    def read(self) -> Tensor:
        """(groups, d, d) with d the columns, and one more, the last, with a bias."""
        if self._groups is not None:
            return self._groups
        source = self._plain if self._conv is None else self._conv
        xx = self._plain.gram if self._conv is None else self._reached(self._conv.xx)
        if self._bias:
            s = self._plain.sum if self._conv is None else self._conv.x_sum
            corner = s.new_full((1, 1), float(source.count))
            xx = torch.cat([torch.cat([xx, s[:, None]], 1), torch.cat([s[None], corner], 1)])
        return xx[None]

    def _reached(self, xx: Tensor) -> Tensor:
        """Zero where a position of the kernel is never on the map (small maps): there, differences of equal sums in
        float32 leave rounding."""
        squares = xx.diagonal().reshape(self._shape[1], -1)
        seen = (squares > _ROUNDING * squares.max(1, keepdim=True).values).flatten().to(xx)
        return xx.mul_(seen).mul_(seen[:, None])
