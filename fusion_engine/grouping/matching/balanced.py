"""Balanced groups: each group takes exactly one neuron of every parent (k-means with an assignment constraint)."""

from typing import Annotated

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.registry import Param, register
from ...core.types import Array, Grouping, Indices
from ...stats import SpaceStats, WideStats
from ..from_labels import labels_from_stats, require_equal_widths


@register(
    "grouping",
    "balanced",
    title="Balanced groups",
    citation="this project: k-means whose groups hold one neuron of every parent",
    needs={"moments", "importance"},
    pairs=True,
    equivariant=True,
)
def balanced(
    stats: SpaceStats,
    *,
    rounds: Annotated[int, Param("most sweeps over the parents; it stops when no group changes", ge=1, le=200)] = 30,
) -> Grouping:
    """Each group takes exactly one neuron of every parent: re-assign one parent at a time to the importance-weighted
    means of the others until no group changes.

    stats: any number of parents of equal width (FusionError otherwise). The weighted within-group cost
    sum_g sum_{i in g} s_i ||f_i - mean_g||^2 never rises: moving neuron i into a group whose others weigh S around
    mean m costs s_i S / (s_i + S) ||f_i - m||^2, which is what each assignment minimises.
    """
    n, k = stats.size, stats.parents
    require_equal_widths(stats.space, "balanced", stats.sizes, n)
    # The parent with the most important neurons is the reference; the rest join in order of importance.
    order = sorted(range(k), key=lambda p: -float(stats.importance[p].sum()))
    labels = np.full((k, n), -1, dtype=np.int64)
    labels[order[0]] = np.arange(n)
    for p in order[1:]:
        labels[p] = _assign(stats, labels, p)
    for _ in range(rounds):
        before = labels.copy()
        for p in order[1:]:
            labels[p] = _assign(stats, labels, p)
        if (labels == before).all():
            break
    return labels_from_stats(stats, "balanced", labels.ravel())


def _assign(stats: SpaceStats, labels: Indices, parent: int) -> Indices:
    """(n,) groups of `parent`'s neurons, by one linear sum assignment against the other assigned parents' means."""
    n = stats.size
    if isinstance(stats, WideStats):
        return _assign_points(stats, labels, parent)
    others = [p for p in range(stats.parents) if p != parent and labels[p, 0] >= 0]
    weight = np.zeros((n, len(stats.gram)))
    for p in others:
        columns = np.arange(stats.part(p).start, stats.part(p).stop)
        weight[labels[p], columns] = stats.importance[p]
    mass = weight.sum(1)
    mean = weight / mass[:, None]
    cross = mean @ stats.gram
    norms = np.einsum("gi,gi->g", cross, mean)
    mine = stats.part(parent)
    distances = np.maximum(np.diag(stats.gram)[mine][:, None] + norms[None, :] - 2 * cross[:, mine].T, 0.0)
    return _nearest(stats.importance[parent], mass, distances)


def _assign_points(stats: WideStats, labels: Indices, parent: int) -> Indices:
    """The same from the neurons' points."""
    n, at = stats.size, stats.points.at
    mean, mass = np.zeros((n, at.shape[1])), np.zeros(n)
    for p in range(stats.parents):
        if p != parent and labels[p, 0] >= 0:
            mean[labels[p]] += stats.importance[p][:, None] * at[stats.part(p)]
            mass[labels[p]] += stats.importance[p]
    mean /= mass[:, None]
    own, norms = stats.squares[stats.part(parent)], np.einsum("gr,gr->g", mean, mean)
    distances = np.maximum(own[:, None] + norms[None, :] - 2 * at[stats.part(parent)] @ mean.T, 0.0)
    return _nearest(stats.importance[parent], mass, distances)


def _nearest(importance: Array, mass: Array, distances: Array) -> Indices:
    """(n,) groups of neurons at these squared distances (n, n) to groups of this mass, by what joining them costs."""
    s = importance[:, None]
    rows, columns = linear_sum_assignment(s * mass / (s + mass) * distances)
    out = np.empty(len(rows), dtype=np.int64)
    out[rows] = columns
    return out
