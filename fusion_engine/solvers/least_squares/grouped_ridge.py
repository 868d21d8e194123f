"""Ridge regression of grouped and depthwise convolutions: one small problem a group, all solved at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...core.types import Layer
from ...fusing.positive_solve import solve_positive
from ...stats import layer_rows
from .ridge import RidgeResult, search, share_out

_TINY = torch.finfo(torch.float64).tiny


class GroupedRegression:
    """`ridge.Regression` for a convolution with groups g: X_g (rows, d_g) and T_g (rows, n / g) of every group.

    Only second moments are kept, (g, d_g, d_g) in float64. Lambda is common to the groups, relative to the mean
    square of each group's inputs, so that quiet and loud channels are pulled alike. reserve: as there.
    """

    def __init__(self, layer: Layer, shape: Sequence[int], bias: bool, reserve: bool = False) -> None:
        self._layer, self._shape, self._bias = layer, tuple(shape), bias
        self._groups = int(layer.options["groups"])
        self._columns = math.prod(self._shape[1:])
        self._train, self._held, self._reserve = _Moments(), _Moments(), reserve

    def add(self, x: Tensor, t: Tensor, held_out: Tensor) -> None:
        """Add the layer's input x (samples, channels, ...), target rows t (samples * positions, n), and a mask
        (samples,) of those that judge lambda."""
        share_out(partial(self._add, self._train), partial(self._add, self._held), x, t, held_out)

    def _add(self, part: _Moments, x: Tensor, t: Tensor) -> None:
        first = 0
        for chunk in layer_rows(self._layer, x, self._shape):
            targets = t[first : first + len(chunk)]
            first += len(chunk)
            inputs = chunk.reshape(len(chunk), self._groups, self._columns).movedim(1, 0).double()
            if self._bias:
                inputs = torch.cat([inputs, inputs.new_ones(*inputs.shape[:2], 1)], 2)
            wanted = targets.reshape(len(chunk), self._groups, -1).movedim(1, 0).double()
            part.add(inputs, wanted)

    def solve(
        self, start: Tensor, ridge: float | None, guess: float = 3e-2, tick: Callable[[], None] = lambda: None
    ) -> RidgeResult:
        """Weights (n, d_g [+1]) near `start` (same shape, float64); see `Regression.solve`."""
        first = start.reshape(self._groups, -1, start.shape[1]).movedim(1, 2)  # (g, d, n / g)
        parts = [p for p in (self._train, self._held) if p.count]
        xx, xt = sum(p.xx for p in parts), sum(p.xt for p in parts)
        assert isinstance(xx, Tensor)
        assert isinstance(xt, Tensor)
        scale = (xx.diagonal(dim1=1, dim2=2)[:, : self._columns].mean(1)).clamp_min(_TINY)
        error = None
        if ridge is None:
            ridge = guess
            if self._train.count and self._held.count:
                share = self._train.count / (self._train.count + self._held.count)

                def judged(lam: float) -> float:
                    change = _solve(self._train, first, lam * share * scale)
                    return self._held.error(first + change)

                ridge, error = search(judged, 1.0, guess, tick)
                error /= max(self._held.square, _TINY)
        tick()
        known = _Moments(xx, xt)
        if self._reserve and self._train.count and self._held.count:
            scale = scale * self._train.count / (self._train.count + self._held.count)
            known = self._train
        solved = first + _solve(known, first, ridge * scale)
        return RidgeResult(solved.movedim(2, 1).reshape(start.shape), ridge, error)


class _Moments:
    """X^T X (g, d, d), X^T T (g, d, m) and the sum of squares of T."""

    def __init__(self, xx: Tensor | float = 0.0, xt: Tensor | float = 0.0) -> None:
        self.xx, self.xt, self.square, self.count = xx, xt, 0.0, 0

    def add(self, x: Tensor, t: Tensor) -> None:
        self.xx = self.xx + x.transpose(1, 2) @ x
        self.xt = self.xt + x.transpose(1, 2) @ t
        self.square += float(t.square().sum())
        self.count += x.shape[1]

    def error(self, weights: Tensor) -> float:
        """||X W - T||^2 over all groups."""
        value = (weights * (torch.as_tensor(self.xx) @ weights - 2 * self.xt)).sum() + self.square
        return max(float(value), 0.0)


def _solve(moments: _Moments, start: Tensor, lam: Tensor) -> Tensor:
    """(X^T X + lambda I)^-1 X^T (T - X start) of every group; the smallest solution where singular."""
    assert isinstance(moments.xx, Tensor)
    right = moments.xt - moments.xx @ start
    shifted = moments.xx + torch.diag_embed(lam[:, None].expand(-1, start.shape[1]))
    return solve_positive(shifted, right)
