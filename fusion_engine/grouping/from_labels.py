"""From group labels to merge and unmerge matrices: what all hard groupings share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import FusionError
from ..core.matrices import label_matrices
from ..core.types import Array, Grouping, Indices
from ..stats import SpaceStats


def hard_grouping(
    space: str,
    method: str,
    labels: Indices,
    sizes: Sequence[int],
    groups: int,
    weights: Array,
    info: dict[str, Any] | None = None,
) -> Grouping:
    """Grouping of N = sum(sizes) neurons by `labels` (N,) in 0..groups-1, every group non-empty.

    merge[p][g, i] is the importance of neuron i normalised over its group (all parents together); unmerge[p][i, g]
    is 1 for the neuron's group. Hence sum_p merge[p] unmerge[p] = I exactly in structure: each row of weights sums
    to one. Source: Luenam et al. 2025 (importance-weighted group means).
    """
    totals = np.bincount(labels, weights, groups)
    if not (totals > 0).all():
        raise FusionError(f"space {space!r}: {method} left {int((totals <= 0).sum())} groups empty; lower the width")
    share = weights / totals[labels]
    ends = np.cumsum(sizes)[:-1]
    split = [mine.astype(np.int64) for mine in np.split(labels, ends)]
    merge, unmerge = label_matrices(split, np.split(share, ends), groups)
    return Grouping(space, method, merge, unmerge, tuple(split), info or {})


def identity_grouping(space: str, sizes: Sequence[int], size: int, method: str = "identity") -> Grouping:
    """Neuron i with neuron i: merge = I / k, unmerge = I. Widths must be equal."""
    require_equal_widths(space, method, sizes, size)
    labels = np.tile(np.arange(size), len(sizes))
    return hard_grouping(space, method, labels, sizes, size, np.ones(len(labels)))


def require_equal_widths(space: str, method: str, sizes: Sequence[int], size: int) -> None:
    """FusionError naming the space unless all parents and the target have the same width."""
    if any(s != size for s in sizes):
        raise FusionError(
            f"space {space!r} has widths {', '.join(map(str, sizes))} and target {size}: grouping {method!r} needs "
            "equal widths; use grouping 'kmeans'"
        )


def require_enough_neurons(stats: SpaceStats) -> None:
    """FusionError naming the space unless the parents have at least as many neurons as there are to be groups."""
    if stats.size > sum(stats.sizes):
        raise FusionError(
            f"space {stats.space!r}: {stats.size} groups out of {sum(stats.sizes)} neurons cannot be made; "
            "lower the width"
        )


def labels_from_stats(stats: SpaceStats, method: str, labels: Indices, info: dict[str, Any] | None = None) -> Grouping:
    """`hard_grouping` with sizes, width and importances taken from `stats`."""
    return hard_grouping(stats.space, method, labels, stats.sizes, stats.size, stats.weights, info)
