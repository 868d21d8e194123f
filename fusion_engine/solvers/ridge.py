"""Ridge regression towards given weights, from second moments or, where fewer rows than columns, from the rows.

    W = argmin ||X W^T - T||^2 + lambda ||W - W0||^2 = W0 + D,   (X^T X + lambda I) D^T = X^T (T - X W0^T)

The bias is a column of ones in X and is drawn towards its average like every weight, so lambda -> infinity gives
the average and lambda -> 0 the smallest change that fits best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..core.types import Layer
from ..stats import layer_rows
from ..stats.conv_moments import ConvMoments
from ..stats.moments import CrossAccumulator

__all__ = ["GRID", "Regression", "RidgeResult"]

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 100.0)
_SINGLE = 2048  # above this many unknowns the candidates for lambda are compared in float32


@dataclass(frozen=True)
class RidgeResult:
    """weights (n, d [+1 with bias last]) float64; ridge: lambda over the mean diagonal of X^T X, as used;
    held_out_error: relative to T^2, on held-out rows, None where lambda was given."""

    weights: Tensor
    ridge: float
    held_out_error: float | None = None


class _Part:
    """The rows of one layer, in training or held out: kept as they are, or their moments."""

    def __init__(self, layer: Layer, shape: Sequence[int], outputs: int, bias: bool, keep_rows: bool) -> None:
        self.layer, self.shape, self.outputs, self.bias, self.keep_rows = layer, tuple(shape), outputs, bias, keep_rows
        self.columns = math.prod(self.shape[1:])
        self.count = 0
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.moments: ConvMoments | CrossAccumulator | None = None
        if not keep_rows and ConvMoments.applies(layer, self.shape):
            self.moments = ConvMoments(self.shape[1], (self.shape[2], self.shape[3]), outputs)
        elif not keep_rows:
            self.moments = CrossAccumulator(self.columns, outputs, precision="mixed")
        self.targets: Tensor | None = None
        self.merged: Tensor | None = None

    def add(self, x: Tensor, t: Tensor) -> None:
        """Add the layer's input x (samples, ...) and target rows t."""
        self.count += len(t)
        square = t.double().T @ t.double()
        self.targets = square if self.targets is None else self.targets + square
        if isinstance(self.moments, ConvMoments):
            self.moments.update(x, t)
            return
        first = 0
        for chunk in layer_rows(self.layer, x, self.shape):
            targets = t[first : first + len(chunk)]
            first += len(chunk)
            if self.moments is None:
                self.rows.append((chunk, targets))
            else:
                self.moments.update(chunk, targets)

    @cached_property
    def dense(self) -> tuple[Tensor, Tensor]:
        """[X 1] and unmerged T in float64; for use once all rows are in."""
        x = torch.cat([x for x, _ in self.rows]).double()
        t = torch.cat([t for _, t in self.rows]).double()
        return (torch.cat([x, x.new_ones(len(x), 1)], 1) if self.bias else x), t

    @cached_property
    def products(self) -> tuple[Tensor, Tensor]:
        """[X 1]^T [X 1] and unmerged [X 1]^T T; for use once all rows are in."""
        if self.moments is None:
            x, t = self.dense
            return x.T @ x, x.T @ t
        return self.moments.with_bias() if self.bias else (self.moments.xx, self.moments.xf)

    def square(self) -> float:
        """Sum of squares of X, without the column of ones."""
        if self.moments is None:
            return sum(float(x.double().square().sum()) for x, _ in self.rows)
        return float(self.products[0].diagonal()[: self.columns].sum())

    def target_square(self) -> float:
        """||T||^2, T merged."""
        if self.targets is None:
            return 0.0
        return float(self.targets.trace() if self.merged is None else (self.merged @ self.targets * self.merged).sum())

    def merge(self, t: Tensor) -> Tensor:
        """Merged targets, or X^T T for them."""
        return t if self.merged is None else t @ self.merged.T


class Regression:
    """Collects the rows of one layer, then solves for its weights.

    layer, shape: the layer and its weight's shape. outputs: columns of the targets. bias: whether the layer has one.
    rows: how many will come in all. With no more rows than columns the rows are kept and the dual problem is
    solved, which has as many unknowns as rows; otherwise only moments are kept. So memory is bounded by that of
    X^T X, whatever the number of rows.
    """

    def __init__(self, layer: Layer, shape: Sequence[int], outputs: int, bias: bool, rows: int) -> None:
        self.bias = bias
        keep = rows <= math.prod(shape[1:])
        self._train, self._held = (_Part(layer, shape, outputs, bias, keep) for _ in range(2))

    def add(self, x: Tensor, t: Tensor, held_out: Tensor) -> None:
        """Add the layer's input x (samples, ...), target rows t (samples * positions, outputs), and a mask
        (samples,) of those that judge lambda."""
        positions = len(t) // len(held_out)
        rows = held_out.repeat_interleave(positions)
        for part, mask, row_mask in ((self._train, ~held_out, ~rows), (self._held, held_out, rows)):
            if bool(mask.all()):
                part.add(x, t)
            elif bool(mask.any()):
                part.add(x[mask], t[row_mask])

    def merge_targets(self, matrix: Tensor) -> None:
        """Let `matrix` (n, outputs) merge every target row, t -> matrix t: for a grouping that is decided only
        once the moments of the parents' own features are known."""
        for part in (self._train, self._held):
            part.merged = matrix.double()

    def target_moments(self) -> tuple[Tensor, Tensor]:
        """T^T T and (P T)^T P T, (outputs, outputs) float64, of the unmerged targets over all rows; P projects on
        the span of [X 1]. With no more rows than columns, in general position, P is the identity."""
        parts = [p for p in (self._train, self._held) if p.count]
        total = torch.stack([p.targets for p in parts if p.targets is not None]).sum(0)
        if parts[0].keep_rows:
            return total, total
        problem = _Primal(parts, torch.zeros(parts[0].outputs, parts[0].columns + self.bias, dtype=torch.float64))
        # A whisper of ridge keeps the factorisation alive where columns of X never vary.
        fit = problem.correction(1e-9 * float(problem.xx.diagonal().mean()))
        return total, problem.residual.T @ fit

    def solve(
        self, start: Tensor, ridge: float | None, guess: float = 3e-2, tick: Callable[[], None] = lambda: None
    ) -> RidgeResult:
        """Weights (n, d [+1]) near `start` (same shape, float64).

        ridge: lambda relative to the mean diagonal of X^T X; None chooses it by the error on the held-out rows:
        a search along a grid from `guess`, after which all rows are used with the chosen lambda. tick is called
        before every larger step and may raise.
        """
        scale = self._scale()
        error = None
        if ridge is None:
            ridge, error = self._choose(start, scale, guess, tick)
        tick()
        problem = _problem([self._train, self._held], start)
        return RidgeResult(start + problem.correction(ridge * scale * problem.count).T, ridge, error)

    def _scale(self) -> float:
        """Mean square of an entry of X: lambda = ridge * scale * rows."""
        entries = (self._train.count + self._held.count) * self._train.columns
        total = self._train.square() + self._held.square()
        return max(total / max(entries, 1), torch.finfo(torch.float64).tiny)

    def _choose(
        self, start: Tensor, scale: float, guess: float, tick: Callable[[], None]
    ) -> tuple[float, float | None]:
        if not self._held.count or not self._train.count:
            return guess, None
        problem = _problem([self._train], start, single=True)
        error = _HeldOut(self._held, start)
        # Lambda itself is what carries over to more rows (it is a noise-to-prior ratio), so candidates are
        # expressed for the final number of rows.
        rows = self._train.count + self._held.count
        errors: dict[int, float] = {}

        def at(index: int) -> float:
            if index not in errors:
                tick()
                errors[index] = error(problem.correction(GRID[index] * scale * rows))
            return errors[index]

        best = min(range(len(GRID)), key=lambda i: abs(GRID[i] - guess))
        while True:
            around = [i for i in (best - 1, best, best + 1) if 0 <= i < len(GRID)]
            winner = min(around, key=at)
            if winner == best:
                return GRID[best], errors[best] / max(self._held.target_square(), torch.finfo(torch.float64).tiny)
            best = winner


def _problem(parts: list[_Part], start: Tensor, *, single: bool = False) -> _Primal | _Dual:
    parts = [p for p in parts if p.count]
    return _Dual(parts, start) if parts[0].keep_rows else _Primal(parts, start, single)


class _Primal:
    """(X^T X + lambda I) D = X^T R, with d unknowns."""

    def __init__(self, parts: list[_Part], start: Tensor, single: bool = False) -> None:
        self.count = sum(p.count for p in parts)
        xx, xt = parts[0].products
        for part in parts[1:]:
            xx, xt = xx + part.products[0], xt + part.products[1]
        self.xx = xx
        self.residual = parts[0].merge(xt) - xx @ start.T
        if single and len(xx) > _SINGLE:
            self.xx, self.residual = xx.float(), self.residual.float()

    def correction(self, lam: float) -> Tensor:
        """D^T (d, n), float64."""
        matrix = self.xx.clone()
        matrix.diagonal().add_(lam)
        return _solve(matrix, self.residual).double()


class _Dual:
    """D = X^T (X X^T + lambda I)^-1 R, with as many unknowns as rows."""

    def __init__(self, parts: list[_Part], start: Tensor) -> None:
        self.x = torch.cat([p.dense[0] for p in parts])
        t = parts[0].merge(torch.cat([p.dense[1] for p in parts]))
        self.count = len(t)
        self.residual = t - self.x @ start.T
        self.kernel = self.x @ self.x.T

    def correction(self, lam: float) -> Tensor:
        """D^T (d, n), float64."""
        matrix = self.kernel.clone()
        matrix.diagonal().add_(lam)
        return self.x.T @ _solve(matrix, self.residual)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solution of a positive semi-definite system; the smallest one where it is rank-deficient."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not bool(failed):
        return torch.cholesky_solve(right, factor)
    values, vectors = torch.linalg.eigh(matrix)
    keep = values > values.max() * len(values) * torch.finfo(matrix.dtype).eps
    vectors = vectors[:, keep]
    found: Tensor = vectors @ ((vectors.T @ right) / values[keep, None])
    return found


class _HeldOut:
    """||X (start + D)^T - T||^2 on held-out rows, for many D."""

    def __init__(self, part: _Part, start: Tensor) -> None:
        self.rows: tuple[Tensor, Tensor] | None = None
        if part.keep_rows:
            x, t = part.dense
            self.rows = x, part.merge(t) - x @ start.T
            return
        xx, xt = part.products
        xt, product = part.merge(xt), xx @ start.T
        self.xx = xx.float() if len(xx) > _SINGLE else xx
        self.residual = xt - product
        self.base = part.target_square() + float((start.T * (product - 2 * xt)).sum())

    def __call__(self, correction: Tensor) -> float:
        if self.rows is not None:
            x, residual = self.rows
            return float((x @ correction - residual).square().sum())
        moved = (self.xx @ correction.to(self.xx.dtype)).double()
        return max(self.base + float((correction * (moved - 2 * self.residual)).sum()), 0.0)
