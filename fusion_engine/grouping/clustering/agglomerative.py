"""Agglomerative grouping: merge the neurons of all parents pair by pair at the least growth of the spread (Ward)."""

import numpy as np

from ...core.registry import register
from ...core.types import Array, Grouping
from ...stats import SpaceStats
from ..from_labels import labels_from_stats, require_enough_neurons
from ..parameters import FeaturesParameter
from .greedy import merge_greedily


@register(
    "grouping",
    "agglomerative",
    title="Agglomerative (Ward)",
    citation="Ward 1963; this project: weighted by importance",
    needs={"moments", "importance"},
    equivariant=True,
)
def agglomerative(stats: SpaceStats, *, features: FeaturesParameter = "pre") -> Grouping:
    """Merges the two groups whose union adds least to the importance-weighted spread, until one is left a neuron.

    Ward's method: merging groups of weights s, t around means m, l adds s t / (s + t) ||m - l||^2, which is updated
    by Lance and Williams' formula from the pairwise distances. stats: any number of parents of any widths, stats.size
    groups, at most the number of neurons (FusionError otherwise). Deterministic; each fused neuron is the importance-
    weighted mean of its group.
    """
    require_enough_neurons(stats)
    weights = stats.weights.copy()
    added = stats.distances() * np.outer(weights, weights) / (weights[:, None] + weights[None, :])

    def updated(gains: Array, i: int, j: int) -> Array:
        s, t = weights[i], weights[j]
        with np.errstate(invalid="ignore"):
            row = ((s + weights) * gains[i] + (t + weights) * gains[j] - weights * gains[i, j]) / (s + t + weights)
        weights[i] += t
        return np.asarray(row)

    labels = merge_greedily(-added, stats.size, updated)
    return labels_from_stats(stats, "agglomerative", labels)
