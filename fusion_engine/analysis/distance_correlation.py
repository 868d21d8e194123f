"""Distance correlation between representations of the same samples, unbiased, and partial with a third held fixed.

Székely & Rizzo 2014, "Partial distance correlation with methods for dissimilarities"; for networks Zhen et al. 2022,
"On the versatile uses of partial distance correlation in deep learning". With A a U-centred distance matrix of n
samples, (A . B) = sum_{i != j} A_ij B_ij / (n (n - 3)) is an unbiased estimate of the squared distance covariance: near
0 for independent features, and then as often below 0 as above.
"""

import numpy as np

from ..core.types import Array


def u_centred(features: Array) -> Array:
    """(n, n) U-centred Euclidean distances between the rows of `features` (n, d): off the diagonal
    d_ij - row_i / (n - 2) - row_j / (n - 2) + total / ((n - 1)(n - 2)), on it 0. ValueError for fewer than 4 rows."""
    n = len(features)
    if n < 4:
        raise ValueError(f"distance correlation needs at least 4 samples, not {n}")
    centred = features - features.mean(0)
    squares = np.einsum("ij,ij->i", centred, centred)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * centred @ centred.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    rows = distances.sum(1)
    out: Array = distances - rows[:, None] / (n - 2) - rows[None, :] / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(out, 0.0)
    return out


def correlation(a: Array, b: Array) -> float:
    """Bias-corrected distance correlation of two U-centred matrices, at most 1; 0 where one of them is constant.

    The factor n (n - 3) cancels.
    """
    scale = float(np.sqrt(_product(a, a) * _product(b, b)))
    return min(1.0, _product(a, b) / scale) if scale > _tiny(a, b) else 0.0


def partial_correlation(a: Array, b: Array, control: Array) -> float:
    """Distance correlation of `a` and `b` after what each shares with `control` is taken away; U-centred matrices.

    0 where nothing of one of them is left.
    """
    rest = [_orthogonal(m, control) for m in (a, b)]
    norms = [float(np.sqrt(_product(r, r))) for r in rest]
    if any(norm <= 1e-6 * np.sqrt(_product(m, m)) for norm, m in zip(norms, (a, b), strict=True)):
        return 0.0
    return float(np.clip(_product(*rest) / (norms[0] * norms[1]), -1.0, 1.0))


def _orthogonal(a: Array, control: Array) -> Array:
    own = _product(control, control)
    return a - _product(a, control) / own * control if own > _tiny(control, control) else a


def _product(a: Array, b: Array) -> float:
    return float(np.vdot(a, b))


def _tiny(a: Array, b: Array) -> float:
    return float(np.finfo(np.float64).eps * len(a) * max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)) ** 2)
