"""The regression mean of one layer (Jin et al. 2023, equation 2): the weights that are closest to all parents' in
what they make of the parents' own inputs."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...fusing.positive_solve import smallest_solution

_RIDGES = (0.0, 1e-6, 1e-5, 1e-4)  # on the diagonal of correlations, the next where rounding defeats the one before
_PIVOT = 1e-7  # what is left of an input once the others are known: less is rounding of float32 products
_DAMPING = 1e-3  # of 1 - alpha, from which rounding is too small to defeat anything
_SILENT = 1e-10  # of the largest input's squares
_BLOCK = 512  # rows of a symmetric product that are multiplied at once


def rows_are_cheaper(rows: int, columns: int, outputs: int, parents: int, alpha: float) -> bool:
    """Whether `regression_mean` is less work from the parents' input rows, `rows` of all together, than from their
    products, in multiplications. The rows serve only where alpha leaves something on the diagonal."""
    from_rows = rows**2 * columns / 2 + rows**3 / 6 + rows**2 * outputs + 2 * rows * columns * outputs
    from_products = rows * columns**2 / 2 + columns**3 / 6 + parents * columns**2 * outputs
    return 1 - alpha >= _DAMPING and from_rows < from_products


def regression_mean(inputs: Sequence[Tensor], weights: Sequence[Tensor], shares: Tensor, alpha: float) -> Tensor:
    """W = argmin sum_p s_p ||X_p W^T - X_p W_p^T||^2, row by row: W^T = (sum_p s_p G_p)^-1 sum_p s_p G_p W_p^T.

    inputs: per parent G_p = X_p^T X_p, (g, d, d) float64, one a group of the convolution; they are overwritten. Or,
    for g = 1 and alpha < 1, X_p itself, (rows, d). Off-diagonal entries of G_p are multiplied by alpha. weights: per
    parent (n, d), group after group. shares: (k, n), the weight s_p of each parent for each row, 0 where it has no say;
    rows nobody has a say in weigh all parents alike. Returns (n, d) float64. In directions that no input takes, W is
    the mean of the weights.
    """
    stacked = torch.stack([w.double() for w in weights])
    shares = shares.to(stacked)
    shares = torch.where(shares.sum(0) > 0, shares, torch.ones_like(shares))
    solved = (shares[:, :, None] * stacked).sum(0) / shares.sum(0)[:, None]
    from_rows = inputs[0].dim() == 2
    groups = 1 if from_rows else len(inputs[0])
    for gram in [] if from_rows else inputs[:-1]:
        gram.sub_(inputs[-1])
    size = len(solved) // groups
    for group in range(groups):
        for share, picked in _alike(shares[:, group * size : (group + 1) * size]):
            own = picked + group * size
            if int((share > 0).sum()) == 1:
                continue  # the mean is the one parent's row
            changes = stacked[:, own] - solved[own]
            if from_rows:
                solved[own] += _from_rows(inputs, share, changes, alpha)
            else:
                solved[own] += _from_products([x[group] for x in inputs], share, changes, alpha)
    return solved


def _alike(shares: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Distinct columns of the shares, and the rows of the weight that have them."""
    distinct, which = torch.unique(shares, dim=1, return_inverse=True)
    for i in range(distinct.shape[1]):
        yield distinct[:, i], torch.nonzero(which == i).flatten()


def _from_products(grams: Sequence[Tensor], share: Tensor, changes: Tensor, alpha: float) -> Tensor:
    """What leads from the mean of the weights to the solution, (m, d). grams: (d, d) of the last parent, and of the
    others what they have more than it. share: (k,). changes: (k, m, d), from the mean to every parent's weights.

    As sum_p s_p (W_p - mean) = 0, sum_p s_p G_p (W_p - mean) is the same with the last parent's G subtracted from all.
    """
    *more, last = grams
    total = last * share.sum()
    right = changes.new_zeros(changes.shape[2], changes.shape[1])
    for s, gram, change in zip(share.tolist(), more, changes, strict=False):
        total.add_(gram, alpha=s)
        right.addmm_(gram, change.T, alpha=s * alpha)
        right += (s * (1 - alpha) * gram.diagonal())[:, None] * change.T
    return _solve(total, alpha, right).T


def _heard(squares: Tensor) -> Tensor:
    """The inputs' sums of squares (d,), 0 for inputs that are silent up to rounding: a mixture of silent neurons is not
    0, and dividing by it would fit rounding with weights as large as it is small."""
    return torch.where(squares > _SILENT * squares.max(), squares, torch.zeros_like(squares))


def _solve(matrix: Tensor, alpha: float, right: Tensor) -> Tensor:
    """matrix^-1 right of a positive semi-definite matrix, overwritten, whose off-diagonal entries count alpha times.
    Where it is singular, a ridge of a millionth of each input's own mean square keeps what is not determined near 0."""
    root = _heard(matrix.diagonal().clamp_min(0)).sqrt()
    scale = torch.where(root > 0, 1 / root, torch.zeros_like(root))
    unit = matrix.mul_(alpha * scale).mul_(scale[:, None])
    right = right * scale[:, None]
    for ridge in _RIDGES:
        unit.diagonal().fill_(1 + ridge)  # also for inputs that are always zero: their weights stay
        factor, failed = torch.linalg.cholesky_ex(unit)
        if not bool(failed) and float(factor.diagonal().min()) ** 2 > _PIVOT + ridge / 2:
            return scale[:, None] * torch.cholesky_solve(right, factor)
    return scale[:, None] * smallest_solution(unit, right, _RIDGES[-1])  # rounding has left it indefinite


def _from_rows(rows: Sequence[Tensor], share: Tensor, changes: Tensor, alpha: float) -> Tensor:
    """The same from every parent's rows (r_p, d), with as many unknowns as rows. What alpha leaves of the diagonal,
    D = (1 - alpha) sum_p s_p diag(G_p), makes it a ridge regression towards W_0, the solution for alpha = 0:

    W^T = W_0^T + C A^T (I + A A^T)^-1 Y,  C = (alpha / D)^1/2,  A_p = s_p^1/2 X_p C,  Y_p = s_p^1/2 X_p (W_p - W_0)^T
    """
    squares = share[:, None] * torch.stack([torch.linalg.vector_norm(x, dim=0, dtype=share.dtype) ** 2 for x in rows])
    seen = _heard(squares.sum(0))
    nearest = torch.where(seen > 0, (squares[:, None] * changes).sum(0) / seen, torch.zeros_like(changes[0]))
    scale = torch.where(seen > 0, (alpha / ((1 - alpha) * seen)).sqrt(), torch.zeros_like(seen))
    scaled, wanted = [], []
    for s, x, change in zip(share.sqrt(), rows, changes, strict=True):
        x = x.double() * s
        wanted.append(x @ (change - nearest).T)
        scaled.append(x.mul_(scale))
    a = torch.cat(scaled)
    kernel = torch.eye(len(a), dtype=a.dtype, device=a.device)
    for first in range(0, len(a), _BLOCK):  # the lower triangle is all that is read
        kernel[first : first + _BLOCK, : first + _BLOCK] += a[first : first + _BLOCK] @ a[: first + _BLOCK].T
    factor = torch.linalg.cholesky(kernel)
    return nearest + (torch.cholesky_solve(torch.cat(wanted), factor).T @ a) * scale
