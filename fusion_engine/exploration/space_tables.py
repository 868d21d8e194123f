"""What the pages show of a space: per-neuron and per-group tables, computed from moments alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_engine.core.edits import applying
from fusion_engine.core.edits.lost import merge_error
from fusion_engine.core.types import Grouping
from fusion_engine.embedding import principal_coordinates, principal_coordinates_of
from fusion_engine.stats import SpaceStats, WideStats

from .verdict import verdict

_NEIGHBOURS = 15
# Neurons of a space up to which their covariance is kept, and is kept in double precision: 8 and 64 MiB.
_MOST_EXACT, _MOST_KEPT = 1_024, 4_096
_MOST_CORRELATIONS = 2**24  # of a wide space that are known at once: 64 MiB


@dataclass(frozen=True)
class SpaceTables:
    """arrays: the space's part of explore.npz. features: of features.npz. info: its entry of explore.json."""

    arrays: dict[str, NDArray]
    features: dict[str, NDArray]
    info: dict[str, Any]


def space_tables(stats: SpaceStats, grouping: Grouping) -> SpaceTables:
    """All tables of one space; see docs/architecture.md for names and shapes."""
    groups = groups_of(grouping)
    parent = np.repeat(np.arange(stats.parents), stats.sizes)
    members = np.zeros((grouping.size, stats.parents), np.int64)
    grouped = groups >= 0
    np.add.at(members, (groups[grouped], parent[grouped]), 1)
    if isinstance(stats, WideStats):
        varying = stats.centred() / np.sqrt(max(stats.count, 1))
        variance = np.einsum("ir,ir->i", varying, varying)
        error = stats.lost(grouping, centred=True) / max(stats.count, 1)
        principal = principal_coordinates_of(stats.points.at, max(stats.count, 1))
        neighbours, correlation = _neighbours_of(varying)
    else:
        variance = np.diag(stats.covariance).clip(0)
        error = merge_error(stats.covariance, grouping)
        principal = principal_coordinates(stats.gram / max(stats.count, 1))
        neighbours, correlation = _neighbours(stats.correlation())
    pca = np.zeros((len(parent), 3), np.float32)
    shown = min(3, principal.coordinates.shape[1])
    pca[:, :shown] = principal.coordinates[:, :shown]
    arrays = {
        "parent": parent.astype(np.int64),
        "neuron": np.concatenate([np.arange(n, dtype=np.int64) for n in stats.sizes]),
        "importance": stats.weights,
        "group": groups,
        "lost": _share(error, variance),
        "pca": pca,
        "mean": stats.means,
        "std": np.sqrt(variance),
        "neighbours": neighbours,
        "correlation": correlation,
        "group_members": members,
        "group_importance": _sums(groups, stats.weights, grouping.size),
        "group_error": _share(
            _sums(groups, error, grouping.size), _sums(groups, variance, grouping.size)
        ),
    }
    info = {
        "size": grouping.size,
        "sizes": list(stats.sizes),
        "hard": grouping.labels is not None,
        "variance": [float(v) for v in principal.variance[:3]],
        "error": float(_share(error.sum(), variance.sum())),
        "verdict": verdict(arrays, hard=grouping.labels is not None),
    }
    features: dict[str, NDArray] = {"coordinates": principal.coordinates.astype(np.float32)}
    if len(parent) <= _MOST_KEPT:
        kind = np.float64 if len(parent) <= _MOST_EXACT else np.float32
        features["covariance"] = stats.covariance.astype(kind)
    if grouping.labels is not None:
        hard = applying.groups_of(grouping)
        features |= {"shares": hard.shares, "weights": applying.raw_weights(hard, stats.weights), "pins": hard.pinned}
    return SpaceTables(arrays, features, info)


def groups_of(grouping: Grouping) -> NDArray[np.int64]:
    """(N,) group of each neuron; in a soft grouping the one it weighs most in, -1 if in none."""
    if grouping.labels is not None:
        return np.concatenate(grouping.labels).astype(np.int64)
    weights = np.abs(np.concatenate(grouping.merge, 1))
    return np.where(weights.any(0), weights.argmax(0), -1).astype(np.int64)


def _neighbours(correlation: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most correlated other neurons of each, best first; -1 and 0 where there are too few."""
    total = len(correlation)
    index = np.full((total, _NEIGHBOURS), -1, np.int64)
    value = np.zeros((total, _NEIGHBOURS), np.float32)
    count = min(_NEIGHBOURS, total - 1)
    if count > 0:
        others = correlation.copy()
        np.fill_diagonal(others, -np.inf)
        best = np.argpartition(-others, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(others, best, 1).argsort(1)[:, ::-1]
        index[:, :count] = np.take_along_axis(best, order, 1)
        value[:, :count] = np.take_along_axis(others, index[:, :count], 1)
    return index, value


def _neighbours_of(varying: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The same from points (N, r) whose products are covariances, a stretch of neurons at a time."""
    total = len(varying)
    length = np.sqrt(np.einsum("ir,ir->i", varying, varying))
    alive = length > 1e-6 * max(float(length.max(initial=0.0)), np.finfo(np.float64).tiny)
    unit = (varying * np.divide(1, length, out=np.zeros(total), where=alive)[:, None]).astype(np.float32)
    index = np.full((total, _NEIGHBOURS), -1, np.int64)
    value = np.zeros((total, _NEIGHBOURS), np.float32)
    count = min(_NEIGHBOURS, total - 1)
    step = max(1, _MOST_CORRELATIONS // total)
    for first in range(0, total if count > 0 else 0, step):
        rows = np.arange(first, min(first + step, total))
        others = unit[rows] @ unit.T
        others[np.arange(len(rows)), rows] = -np.inf
        best = np.argpartition(-others, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(others, best, 1).argsort(1)[:, ::-1]
        index[rows, :count] = np.take_along_axis(best, order, 1)
        value[rows, :count] = np.take_along_axis(others, index[rows, :count], 1).clip(-1, 1)
    return index, value


def _sums(groups: NDArray[np.int64], values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    kept = groups >= 0
    return np.asarray(np.bincount(groups[kept], weights=values[kept], minlength=size), np.float64)


def _share(part: Any, whole: Any) -> NDArray[np.float64]:
    """part / whole, 0 where there is nothing to lose."""
    whole = np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0))
