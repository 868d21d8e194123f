"""Spectral grouping: cut the graph of all parents' neurons into clusters of alike ones."""

from typing import Annotated

import numpy as np
from scipy.linalg import eigh

from ...core.registry import Param, register
from ...core.seeds import numpy_generator
from ...core.types import Array, Grouping
from ...stats import SpaceStats
from ..from_labels import labels_from_stats, require_enough_neurons
from ..parameters import FeaturesParameter
from .kmeans import best_of_starts


@register(
    "grouping",
    "spectral",
    title="Spectral clustering",
    citation="Ng, Jordan & Weiss 2002; Coifman & Lafon 2006",
    needs={"moments", "importance"},
)
def spectral(
    stats: SpaceStats,
    *,
    bandwidth: Annotated[float, Param("reach of the affinity, in median distances between neurons", ge=0.01, le=100)]
    = 1.0,
    tries: Annotated[int, Param("starts of the clustering; the best is kept", ge=1, le=50)] = 3,
    features: FeaturesParameter = "pre",
) -> Grouping:  # fmt: skip
    """Clusters the neurons of all parents by how they are connected: k-means on the leading eigenvectors of the graph
    of affinities exp(-d^2 / 2 sigma^2).

    The eigenvectors of D^-1/2 A D^-1/2 are weighted by their eigenvalues (a diffusion map), so that those of next to no
    weight do not decide. stats: any number of parents of any widths, stats.size groups, at most the number of neurons
    (FusionError otherwise). Fused neurons are importance-weighted means.
    """
    require_enough_neurons(stats)
    points = diffusion_map(affinities(stats, bandwidth), stats.size)
    random = numpy_generator(stats.seed, "spectral", stats.space)
    cost, labels = best_of_starts(points @ points.T, stats.weights, stats.size, tries, random)
    return labels_from_stats(stats, "spectral", labels, {"cost": cost})


def affinities(stats: SpaceStats, bandwidth: float) -> Array:
    """(N, N) exp(-d^2 / 2 sigma^2), sigma `bandwidth` times the median distance of different neurons."""
    squares = stats.distances()
    between = squares[np.triu_indices(len(squares), 1)]
    apart = between[between > 0]
    sigma = bandwidth * float(np.sqrt(np.median(apart))) if len(apart) else 1.0
    out: Array = np.exp(-squares / (2 * sigma**2))
    return out


def diffusion_map(affinity: Array, dimensions: int) -> Array:
    """(N, dimensions) leading eigenvectors of D^-1/2 A D^-1/2, times D^-1/2 and their eigenvalues."""
    degree = 1 / np.sqrt(affinity.sum(1))
    count = len(affinity)
    leading = (max(0, count - dimensions), count - 1)
    values, vectors = eigh(affinity * np.outer(degree, degree), subset_by_index=leading)
    out: Array = degree[:, None] * vectors * values
    return out
