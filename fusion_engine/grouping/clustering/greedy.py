"""Greedy agglomeration: merge the best pair again and again until few enough groups are left."""

from collections.abc import Callable

import numpy as np

from ...core.types import Array, Indices


def merge_greedily(gains: Array, groups: int, updated: Callable[[Array, int, int], Array]) -> Indices:
    """Labels (N,) in 0..groups-1 of N points, merged pair by pair in order of gain.

    gains: (N, N) symmetric, what merging two groups gains; -inf bars a pair. updated(gains, i, j): the row (N,) of
    the group of i and j, which takes i's place, before j is struck out; it may bar pairs in `gains`, in place, as long
    as there are enough others. Groups are numbered by their first point. A point's best partner is remembered, so that
    a merge mostly costs O(N) and not O(N^2).
    """
    gains = gains.copy()
    count = len(gains)
    np.fill_diagonal(gains, -np.inf)
    labels = np.arange(count)
    alive = np.ones(count, dtype=bool)
    partner = gains.argmax(1)
    best = gains[np.arange(count), partner]
    for _ in range(count - groups):
        i = int(best.argmax())
        i, j = sorted((i, int(partner[i])))
        row = updated(gains, i, j)
        labels[labels == j] = i
        alive[j] = False
        row = np.where(alive, row, -np.inf)
        row[i] = -np.inf
        gains[i], gains[:, i] = row, row
        gains[j], gains[:, j] = -np.inf, -np.inf
        best[j] = -np.inf
        stale = alive & ((partner == i) | (partner == j) | ~np.isfinite(gains[np.arange(count), partner]))
        stale[i] = True
        rows = np.flatnonzero(stale)
        partner[rows] = gains[rows].argmax(1)
        best[rows] = gains[rows, partner[rows]]
        better = alive & (row > best)
        partner[better], best[better] = i, row[better]
    found: Indices = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return found
