"""How alike two sets of features are, from their joint second moments alone: linear CKA, CCA and SVCCA."""

import numpy as np

from ..core.types import Array

_RANK = 1e-10  # directions with less of the largest variance than this are rounding


def linear_cka(xx: Array, xy: Array, yy: Array) -> float:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of centred features, in [0, 1]; 0 where one of them is constant.

    xx (n, n), xy (n, m), yy (m, m): centred second moments, of any common scale. Kornblith et al. 2019, section 3, as
    published: the plug-in estimate, without the correction that debiased CKA makes. With few rows for many neurons it
    is too high (independent features of n neurons and r rows: about n / (n + r)).
    """
    scale = float(np.linalg.norm(xx) * np.linalg.norm(yy))
    return float(np.sum(xy**2)) / scale if scale > 0 else 0.0


def canonical_correlations(xx: Array, xy: Array, yy: Array, keep: float = 1.0) -> Array:
    """Canonical correlations in falling order, as many as the smaller rank; empty where one side is constant.

    keep: share of each side's variance to keep first, in its leading principal directions (SVCCA, Raghu et al. 2017);
    1 keeps every direction that varies.
    """
    left, right = _whitening(xx, keep), _whitening(yy, keep)
    if not (left.size and right.size):
        return np.zeros(0)
    found: Array = np.clip(np.linalg.svd(left.T @ xy @ right, compute_uv=False), 0.0, 1.0)
    return found


def svcca(xx: Array, xy: Array, yy: Array, keep: float = 0.99) -> float:
    """Mean canonical correlation of the directions that hold `keep` of the variance of each side."""
    found = canonical_correlations(xx, xy, yy, keep)
    return float(found.mean()) if found.size else 0.0


def _whitening(covariance: Array, keep: float) -> Array:
    """(n, r): principal directions over the square roots of their variances."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int((values > _RANK * max(values[0], 0.0)).sum()) if values[0] > 0 else 0
    if keep < 1 and rank:
        shares = np.cumsum(values[:rank]) / values[:rank].sum()
        rank = int(np.searchsorted(shares, keep * (1 - 1e-12))) + 1
    out: Array = vectors[:, :rank] / np.sqrt(values[:rank])
    return out
