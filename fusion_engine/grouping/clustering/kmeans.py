"""k-means fusion (KF): importance-weighted k-means over the neurons of all parents, on second moments alone."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from scipy import sparse

from ...core.registry import Param, register
from ...core.seeds import numpy_generator
from ...core.types import Array, Grouping, Indices
from ...stats import SpaceStats, WideStats
from ..from_labels import labels_from_stats, require_enough_neurons
from .filling import fill_empty, free_points
from .point_kmeans import best_of_point_starts, centred, cheapest, lloyd, means, spread

_TRIES = 3
_MOST_TRIES = 30
_GAIN = 1e-3  # a smaller fall of the held-out error is no improvement


@register(
    "grouping",
    "kmeans",
    title="k-means (KF)",
    citation="Luenam et al. 2025, neuron-centric fusion by interpolation",
    needs={"moments", "importance"},
    equivariant=lambda start, **_: start == "heaviest_first",
)
def kmeans(
    stats: SpaceStats,
    *,
    tries: Annotated[
        int | Literal["auto"],
        Param("starts; the best is kept. auto: until more starts no longer lower the held-out error", ge=1, le=50),
    ] = 3,
    start: Annotated[
        Literal["farthest_first", "kmeans++", "heaviest_first"],
        Param("how the first centres are drawn; heaviest first: without chance, so all starts are one", expert=True),
    ] = "farthest_first",
    iterations: Annotated[int, Param("most Lloyd iterations of one start", ge=1, le=1000, expert=True)] = 100,
) -> Grouping:
    """Importance-weighted k-means over the neurons of all parents: each cluster becomes one fused neuron.

    stats: any number of parents of any widths; stats.size clusters, at most the number of neurons (FusionError
    otherwise). A cluster may hold several neurons of one parent and none of another.

    Wide spaces (`WideStats`) are clustered by their points, without a Gram.

    Of several starts the one with the smallest cost is kept. With tries 'auto' starts are made on the training
    samples and judged by the representation error on the held-out ones, until 3 in a row bring no improvement; the
    best then settles on all samples. Without held-out moments 'auto' means 3.
    """
    require_enough_neurons(stats)
    random = numpy_generator(stats.seed, "kmeans", stats.space)
    if tries == "auto" and stats.judged:
        return labels_from_stats(stats, "kmeans", *_judged(stats, start, iterations, random))
    count = _TRIES if tries == "auto" else tries
    if isinstance(stats, WideStats):
        given = stats.points.at, stats.weights, stats.size, count, random, start, iterations
        cost, labels = best_of_point_starts(*given)
    else:
        cost, labels = best_of_starts(stats.gram, stats.weights, stats.size, count, random, start, iterations)
    return labels_from_stats(stats, "kmeans", labels, {"cost": cost})


def best_of_starts(
    gram: Array,
    weights: Array,
    groups: int,
    tries: int,
    random: np.random.Generator,
    start: str = "farthest_first",
    iterations: int = 100,
) -> tuple[float, Indices]:
    """The smallest cost of several starts of k-means, and its labels (N,)."""

    def once() -> tuple[float, Indices]:
        return weighted_kmeans(gram, weights, _start(gram, weights, groups, start, random), iterations)

    return cheapest(once, tries, start)


def _judged(
    stats: SpaceStats, start: str, iterations: int, random: np.random.Generator
) -> tuple[Indices, dict[str, Any]]:
    """Labels and facts: starts made on the training samples until `_TRIES` in a row do not lower the held-out error."""
    if stats.held is None:
        seen, held = stats.split()
    else:
        seen, held = replace(stats, gram=stats.gram - stats.held), replace(stats, gram=stats.held)
    weights, groups = stats.weights, stats.size
    best, error, made, since = np.zeros(0, dtype=np.int64), np.inf, 0, 0
    while made < _MOST_TRIES and since < _TRIES:
        if isinstance(seen, WideStats):
            _, labels = best_of_point_starts(seen.points.at, weights, groups, 1, random, start, iterations)
        else:
            centres = _start(seen.gram, weights, groups, start, random)
            _, labels = weighted_kmeans(seen.gram, weights, centres, iterations)
        found = _lost(held, labels)
        made, since = made + 1, since + 1
        if found < error * (1 - _GAIN):
            best, error, since = labels, found, 0
    if isinstance(stats, WideStats):
        at = centred(stats.points.at, weights)
        cost, settled = lloyd(at, weights, means(at, weights, best, groups), iterations)
    else:
        cost, settled = _lloyd(stats.gram, weights, *_centres(stats.gram, weights, best, groups), iterations)
    total = float(weights @ held.squares)
    return settled, {"cost": cost, "chosen": {"tries": made, "held_out_error": error / total if total else 0.0}}


def _lost(stats: SpaceStats, labels: Indices) -> float:
    """`representation_error` of these samples."""
    if isinstance(stats, WideStats):
        return spread(centred(stats.points.at, stats.weights), stats.weights, labels, stats.size)
    return representation_error(stats.gram, stats.weights, labels, stats.size)


def weighted_kmeans(gram: Array, weights: Array, centres: Indices, iterations: int) -> tuple[float, Indices]:
    """Lloyd's algorithm for points known by their (N, N) Gram, started at the points `centres` (n,).

    A centre is a weighted mean A z of its members (A: (n, N), sparse), so its distance to point i is
    G_ii - 2 (A G)_ci + (A G A^T)_cc: O(N^2) an iteration, whatever the number of samples behind the Gram.
    An empty cluster takes the worst-served neuron. Returns the weighted cost and labels (N,).
    """
    return _lloyd(gram, weights, gram[centres], np.diag(gram)[centres], iterations)


def _lloyd(gram: Array, weights: Array, cross: Array, norms: Array, iterations: int) -> tuple[float, Indices]:
    """cross: (n, N) products of the centres with the points; norms: (n,) of the centres with themselves."""
    count, groups = len(gram), len(norms)
    own = np.diag(gram)
    labels = np.full(count, -1, dtype=np.int64)
    everyone = np.arange(count)
    for _ in range(iterations):
        distances = norms[:, None] - 2 * cross
        new = distances.argmin(0)
        served = np.maximum(distances[new, everyone] + own, 0.0) * weights
        fill_empty(new, served, groups)
        if (new == labels).all():
            break
        labels = new
        cross, norms = _centres(gram, weights, labels, groups)
    residual = np.maximum(own - 2 * cross[labels, everyone] + norms[labels], 0.0)
    return float(weights @ residual), labels


def _centres(gram: Array, weights: Array, labels: Indices, groups: int) -> tuple[Array, Array]:
    """Products of the groups' weighted means with all points, (n, N), and with themselves, (n,)."""
    everyone = np.arange(len(labels))
    share = weights / np.bincount(labels, weights, groups)[labels]
    cross: Array = sparse.csr_array((share, (labels, everyone)), shape=(groups, len(labels))) @ gram
    norms = np.bincount(labels, share * cross[labels, everyone], groups).astype(np.float64, copy=False)
    return cross, norms


def representation_error(gram: Array, weights: Array, labels: Indices, groups: int) -> float:
    """Weighted squared distance of all points to the weighted means of their groups, for points with this Gram."""
    cross, norms = _centres(gram, weights, labels, groups)
    own = cross[labels, np.arange(len(labels))]
    return float(weights @ np.maximum(np.diag(gram) - 2 * own + norms[labels], 0.0))


def _start(gram: Array, weights: Array, groups: int, rule: str, random: np.random.Generator) -> Indices:
    """Indices of the first centres: by far the farthest point, or drawn by weighted squared distance. The first is
    drawn by weight, or it is the heaviest, and the longest of several."""
    own = np.diag(gram)
    if rule == "heaviest_first":
        chosen = [int(np.lexsort((own, weights))[-1])]
    else:
        chosen = [int(random.choice(len(gram), p=weights / weights.sum()))]
    nearest = np.full(len(gram), np.inf)
    for _ in range(groups - 1):
        last = chosen[-1]
        nearest = np.minimum(nearest, np.maximum(own + own[last] - 2 * gram[last], 0.0))
        nearest[chosen] = 0.0
        score = nearest * weights
        if not score.any():
            chosen.append(free_points(len(gram), chosen)[0])
        elif rule != "kmeans++":
            chosen.append(int(score.argmax()))
        else:
            chosen.append(int(random.choice(len(gram), p=score / score.sum())))
    return np.array(chosen, dtype=np.int64)
