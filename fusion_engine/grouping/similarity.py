"""How alike neurons are, from their joint moments: correlation with a rule for neurons that never vary."""

from dataclasses import replace

import numpy as np

from ..core.types import Array
from ..stats import SpaceStats

_STILL = 1e-5  # of the mean square: a variance below it may be rounding, where products are summed in float32

def correlations(stats: SpaceStats) -> Array:
    """(N, N) Pearson correlation, 1 on the diagonal.

    Neurons that never vary correlate with none; two of them count as the same (1) where they have the same value.
    """
    found = stats.correlation()
    squares = np.diag(stats.gram) / max(stats.count, 1)
    still = np.flatnonzero(np.diag(stats.covariance) <= _STILL * squares)
    if len(still):
        means = stats.means[still]
        scale = np.sqrt(squares.max(initial=0.0))
        same = np.abs(means[:, None] - means[None, :]) <= 1e-5 * max(scale, np.finfo(np.float64).tiny)
        found[still], found[:, still] = 0.0, 0.0
        found[np.ix_(still, still)] = same
    np.fill_diagonal(found, 1.0)
    return found


def normalised(stats: SpaceStats) -> SpaceStats:
    """The same neurons with features of length one (silent ones stay silent)."""
    own = np.diag(stats.gram)
    alive = own > 1e-24 * max(float(own.max(initial=0.0)), np.finfo(np.float64).tiny)
    scale = np.where(alive, 1 / np.sqrt(np.where(alive, own, 1.0)), 0.0)
    return replace(stats, gram=stats.gram * np.outer(scale, scale), means=stats.means * scale)
