"""How alike neurons are, from their joint moments: correlation with a rule for neurons that never vary."""

from dataclasses import replace

import numpy as np

from ..core.types import Array
from ..stats import SpaceStats, WideStats

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
    stats = stats.dense()
    own = np.diag(stats.gram)
    alive = own > 1e-24 * max(float(own.max(initial=0.0)), np.finfo(np.float64).tiny)
    scale = np.where(alive, 1 / np.sqrt(np.where(alive, own, 1.0)), 0.0)
    return replace(stats, gram=stats.gram * np.outer(scale, scale), means=stats.means * scale)


def similar_points(stats: WideStats, tie: float) -> Array:
    """(N, m) float64 points whose products are `correlations` plus `tie` times the cosines of the raw features."""
    own, varying = stats.squares, stats.centred()
    squares = own / max(stats.count, 1)
    still = np.einsum("ir,ir->i", varying, varying) <= _STILL * squares * stats.count
    varying[still] = 0.0
    kinds = [_to_length_one(varying)]
    if still.any():
        # Neurons that never vary are alike where they have the same value, here: fall into the same step.
        step = 1e-5 * max(float(np.sqrt(squares.max(initial=0.0))), np.finfo(np.float64).tiny)
        values, which, counts = np.unique(
            np.rint(stats.means[still] / step), return_inverse=True, return_counts=True
        )
        shared = np.flatnonzero(counts > 1)
        place = np.full(len(values), -1)
        place[shared] = np.arange(len(shared))
        same = np.zeros((len(own), len(shared)))
        rows, columns = np.flatnonzero(still), place[which]
        same[rows[columns >= 0], columns[columns >= 0]] = 1.0
        kinds.append(same)
    kinds.append(np.sqrt(tie) * _to_length_one(stats.points.at.astype(np.float64)))
    return np.concatenate(kinds, 1)


def _to_length_one(points: Array) -> Array:
    """Rows of length one; those of no length stay zero."""
    length = np.sqrt(np.einsum("ir,ir->i", points, points))
    alive = length > 1e-12 * max(float(length.max(initial=0.0)), np.finfo(np.float64).tiny)
    points *= np.where(alive, 1 / np.where(alive, length, 1.0), 0.0)[:, None]
    return points
