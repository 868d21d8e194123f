"""The regression mean of one layer (Jin et al. 2023, equation 2): the weights that are closest to all parents' in
what they make of the parents' own inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["regression_mean"]

_RIDGES = (0.0, 1e-6, 1e-5, 1e-4)  # on the diagonal of correlations, the next where rounding defeats the one before
_PIVOT = 1e-7  # what is left of an input once the others are known: less is rounding of float32 products


def regression_mean(grams: Sequence[Tensor], weights: Sequence[Tensor], shares: Tensor, alpha: float) -> Tensor:
    """W = argmin sum_p s_p ||X_p W^T - X_p W_p^T||^2, row by row: W^T = (sum_p s_p G_p)^-1 sum_p s_p G_p W_p^T.

    grams: per parent G_p = X_p^T X_p, (g, d, d) float64, one a group of the convolution; off-diagonal entries are
    multiplied by alpha. weights: per parent (n, d), group after group. shares: (k, n), the weight s_p of each parent
    for each row, 0 where it has no say; rows nobody has a say in weigh all parents alike. Returns (n, d) float64. In
    directions that no input takes, W is the mean of the weights.
    """
    stacked = torch.stack([w.double() for w in weights])
    shares = shares.to(stacked)
    shares = torch.where(shares.sum(0) > 0, shares, torch.ones_like(shares))
    start = (shares[:, :, None] * stacked).sum(0) / shares.sum(0)[:, None]
    solved = start.clone()
    size = len(start) // len(grams[0])
    for group in range(len(grams[0])):
        damped = [_damped(g[group], alpha) for g in grams]
        for share, picked in _alike(shares[:, group * size : (group + 1) * size]):
            own = picked + group * size
            if int((share > 0).sum()) > 1:  # otherwise the mean is the one parent's row
                matrix = _weighted(share, damped)
                wanted = [d @ (w[own] - start[own]).T for d, w in zip(damped, stacked, strict=True)]
                solved[own] += _solve(matrix, _weighted(share, wanted)).T
    return solved


def _alike(shares: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Distinct columns of the shares, and the rows of the weight that have them."""
    distinct, which = torch.unique(shares, dim=1, return_inverse=True)
    for i in range(distinct.shape[1]):
        yield distinct[:, i], torch.nonzero(which == i).flatten()


def _weighted(shares: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    total = shares[0] * matrices[0]
    for share, matrix in zip(shares[1:], matrices[1:], strict=True):
        total += share * matrix
    return total


def _damped(gram: Tensor, alpha: float) -> Tensor:
    damped = gram * alpha
    damped.diagonal().copy_(gram.diagonal())
    return damped


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """matrix^-1 right of a positive semi-definite matrix. Where it is singular, a ridge of a millionth of each input's
    own mean square keeps what is not determined near 0."""
    root = matrix.diagonal().clamp_min(0).sqrt()
    scale = torch.where(root > 0, 1 / root, torch.zeros_like(root))
    unit = matrix * scale
    unit *= scale[:, None]
    right = right * scale[:, None]
    for ridge in _RIDGES:
        unit.diagonal().fill_(1 + ridge)  # also for inputs that are always zero: their weights stay
        factor, failed = torch.linalg.cholesky_ex(unit)
        if not bool(failed) and float(factor.diagonal().min()) ** 2 > _PIVOT + ridge / 2:
            return scale[:, None] * torch.cholesky_solve(right, factor)
    values, vectors = torch.linalg.eigh(unit)  # rounding has left it indefinite
    keep = values > _RIDGES[-1] * values.max()
    vectors = vectors[:, keep]
    smallest: Tensor = scale[:, None] * (vectors @ ((vectors.T @ right) / values[keep, None]))
    return smallest
