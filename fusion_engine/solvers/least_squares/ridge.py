"""Ridge regression towards given weights, from second moments or, where fewer rows than columns, from the rows.

    W = argmin ||X W^T - T||^2 + lambda ||W - W0||^2 = W0 + D,   (X^T X + lambda I) D^T = X^T (T - X W0^T)

The bias is a column of ones in X and is drawn towards its average like every weight, so lambda -> infinity gives
the average and lambda -> 0 the smallest change that fits best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.types import Layer
from ...fusing.positive_solve import solve_positive
from .layer_moments import LayerMoments

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 100.0)
_JUDGED = 64  # outputs on which candidates for lambda are compared: an even sample serves as well as all
_LARGE = 2048  # above this many columns lambda is chosen on at most this many rows, an even sample
Adding = Callable[[Tensor, Tensor], None]
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class RidgeResult:
    """weights (n, d [+1 with bias last]) float64; ridge: lambda over the mean square of an entry of X times rows;
    held_out_error: relative to T^2, on held-out rows and up to 64 outputs, None where lambda was given."""

    weights: Tensor
    ridge: float
    held_out_error: float | None = None


class Regression:
    """Collects the rows of one layer, then solves for its weights.

    layer, shape: the layer and its weight's shape. outputs: columns of the targets. bias: whether the layer has one.
    rows: how many will come in all. With no more rows than columns the rows are kept and the dual problem is
    solved, which has as many unknowns as rows; otherwise only moments are kept. So memory is bounded by that of
    X^T X, whatever the number of rows. merge_later: `merge_targets` or `target_moments` will be called. reserve: the
    held-out rows judge lambda, and are not solved for.
    """

    def __init__(
        self,
        layer: Layer,
        shape: Sequence[int],
        outputs: int,
        bias: bool,
        rows: int,
        merge_later: bool = False,
        reserve: bool = False,
    ) -> None:
        columns = math.prod(shape[1:])
        keep = rows <= columns

        def pair(keep_rows: bool) -> tuple[LayerMoments, LayerMoments]:
            train = LayerMoments(layer, shape, outputs, bias, keep_rows, merge_later)
            return train, LayerMoments(layer, shape, outputs, bias, keep_rows, merge_later)

        self._train, self._held = pair(keep)
        self._sample = pair(True) if columns > _LARGE and not keep else None
        self._every = math.ceil(rows / _LARGE)
        self._solver: _Primal | _Dual | None = None
        self._reserve = reserve

    def add(self, x: Tensor, t: Tensor, held_out: Tensor) -> None:
        """Add the layer's input x (samples, ...), target rows t (samples * positions, outputs), and a mask
        (samples,) of those that judge lambda."""
        if self._sample is None:
            share_out(self._train.add, self._held.add, x, t, held_out)
        else:
            if not self._reserve:
                self._train.add(x, t)  # the sample judges, so all rows may train
            elif not bool(held_out.all()):
                rows = held_out.repeat_interleave(len(t) // len(held_out))
                self._train.add(x[~held_out], t[~rows])
            few = t.reshape(len(x), -1, t.shape[1])[:: self._every].reshape(-1, t.shape[1])
            train, held = self._sample
            share_out(train.add, held.add, x[:: self._every], few, held_out[:: self._every])

    def merge_targets(self, matrix: Tensor) -> None:
        """Let `matrix` (n, outputs) merge every target row, t -> matrix t: for a grouping that is decided only
        once the moments of the parents' own features are known."""
        for part in (self._train, self._held, *(self._sample or ())):
            part.merge = matrix.double()

    def target_moments(self) -> tuple[Tensor, Tensor]:
        """T^T T and (P T)^T P T, (outputs, outputs) float64, of the unmerged targets over all rows; P projects on
        the span of X. With no more rows than columns, in general position, P is the identity."""
        total = torch.stack([p.targets() for p in self._parts()]).sum(0)
        solver = self._problem()
        if isinstance(solver, _Dual):
            return total, total
        cross = torch.stack([p.xt() for p in self._parts()]).sum(0)
        # A whisper of ridge keeps the factorisation alive where columns of X never vary.
        fit = _solve(solver.xx, 1e-9 * float(solver.xx.diagonal().mean()), cross)
        return total, cross.T @ fit

    def solve(
        self, start: Tensor, ridge: float | None, guess: float = 3e-2, tick: Callable[[], None] = lambda: None
    ) -> RidgeResult:
        """Weights (n, d [+1]) near `start` (same shape, float64).

        ridge: relative to the mean square of X; None chooses it by the error on the held-out rows: a search along
        a grid from `guess`, after which all rows are used. tick is called before larger steps and may raise.
        """
        solver = self._problem()
        count = self._train.count + self._held.count
        entries = count * self._train.columns
        scale = max(sum(p.square() for p in self._parts()) / max(entries, 1), _TINY) * count
        error = None
        if ridge is None:
            ridge = guess
            train, held = self._sample or (self._train, self._held)
            if train.count and held.count:
                # Lambda carries over from fewer rows to all: it is a ratio of noise to prior, whatever the rows.
                picked = _even(len(start), _JUDGED).to(start.device)
                judge = solver if self._sample is None else _Dual([train, held])
                ridge, error = search(judge.judge(start[picked], picked), scale, guess, tick)
                error /= max(held.target_square(picked), _TINY)
        tick()
        if self._reserve and self._train.count and self._held.count:
            solver, scale = type(solver)([self._train]), scale * self._train.count / count
        return RidgeResult(start + solver.correction(start, ridge * scale).T, ridge, error)

    def _parts(self) -> list[LayerMoments]:
        return [p for p in (self._train, self._held) if p.count]

    def _problem(self) -> _Primal | _Dual:
        if self._solver is None:
            self._solver = (_Dual if self._train.keep_rows else _Primal)(self._parts())
        return self._solver


def share_out(train: Adding, held: Adding, x: Tensor, t: Tensor, held_out: Tensor) -> None:
    """Add inputs x (samples, ...) and their target rows t to those to train on or, where the mask (samples,) says so,
    to those that judge."""
    rows = held_out.repeat_interleave(len(t) // len(held_out))
    for add, mask, row_mask in ((train, ~held_out, ~rows), (held, held_out, rows)):
        if bool(mask.all()):
            add(x, t)
        elif bool(mask.any()):
            add(x[mask], t[row_mask])


def search(
    error: Callable[[float], float], scale: float, guess: float, tick: Callable[[], None]
) -> tuple[float, float]:
    """The ridge on the grid with the smallest error, downhill from `guess`, and that error."""
    errors: dict[int, float] = {}

    def at(index: int) -> float:
        if index not in errors:
            tick()
            errors[index] = error(GRID[index] * scale)
        return errors[index]

    best = min(range(len(GRID)), key=lambda i: abs(GRID[i] - guess))
    while True:
        winner = min((i for i in (best - 1, best, best + 1) if 0 <= i < len(GRID)), key=at)
        if winner == best:
            return GRID[best], errors[best]
        best = winner


class _Primal:
    """(X^T X + lambda I) D^T = X^T R, with d unknowns; the first part trains, the second is held out."""

    def __init__(self, parts: list[LayerMoments]) -> None:
        self.parts = parts
        self.xx = parts[0].xx if len(parts) == 1 else parts[0].xx + parts[1].xx

    def correction(self, start: Tensor, lam: float) -> Tensor:
        """D^T (d, n), float64, from all rows."""
        cross = self.parts[0].xt() if len(self.parts) == 1 else self.parts[0].xt() + self.parts[1].xt()
        return _solve(self.xx, lam, cross - self.xx @ start.T)

    def judge(self, start: Tensor, outputs: Tensor) -> Callable[[float], float]:
        """lambda -> ||X (start + D)^T - T||^2 on the held-out rows, D from the training rows."""
        train, held = self.parts
        right = train.xt(outputs) - train.xx @ start.T
        product, cross = held.xx @ start.T, held.xt(outputs)
        base = held.target_square(outputs) + float((start.T * (product - 2 * cross)).sum())
        wanted = cross - product

        def error(lam: float) -> float:
            change = _solve(train.xx, lam, right)
            return max(base + float((change * (held.xx @ change - 2 * wanted)).sum()), 0.0)

        return error


class _Dual:
    """D^T = X^T (X X^T + lambda I)^-1 R, with as many unknowns as rows; the first part trains, the second is held
    out."""

    def __init__(self, parts: list[LayerMoments]) -> None:
        self.parts = parts
        self.x = torch.cat([p.rows[0] for p in parts])
        # Float32 is exact enough for a kernel that lambda is about to be added to, and twice as fast.
        large = self.x.float() if self.x.shape[1] > _LARGE else self.x
        self.kernel = (large @ large.T).double()

    def correction(self, start: Tensor, lam: float) -> Tensor:
        """D^T (d, n), float64, from all rows."""
        return self.x.T @ _solve(self.kernel, lam, self._residual(start, slice(None)))

    def judge(self, start: Tensor, outputs: Tensor) -> Callable[[float], float]:
        """lambda -> ||X (start + D)^T - T||^2 on the held-out rows, D from the training rows."""
        n = self.parts[0].count
        residual = self._residual(start, outputs)
        own, across = self.kernel[:n, :n], self.kernel[n:, :n]
        return lambda lam: float((across @ _solve(own, lam, residual[:n]) - residual[n:]).square().sum())

    def _residual(self, start: Tensor, outputs: slice | Tensor) -> Tensor:
        return torch.cat([p.t(outputs) for p in self.parts]) - self.x @ start.T


def _solve(matrix: Tensor, lam: float, right: Tensor) -> Tensor:
    """(matrix + lam I)^-1 right for a positive semi-definite matrix; the smallest solution where it is singular."""
    shifted = matrix.clone()
    shifted.diagonal().add_(lam)
    return solve_positive(shifted, right)


def _even(total: int, most: int) -> Tensor:
    """Up to `most` positions spread evenly over `total`."""
    return torch.linspace(0, total - 1, min(total, most)).round().long()
