"""Hungarian fusion (HF): pair the neurons of two parents by linear sum assignment on importance-weighted distances."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.registry import register
from ...core.types import Array, Grouping
from ...stats import SpaceStats
from ..from_labels import labels_from_stats, require_equal_widths


def pair_costs(stats: SpaceStats) -> Array:
    """(n_1, n_2) cost of fusing neuron i of parent 1 with neuron j of parent 2.

    c_ij = s_i ||f^_ij - f_i|| + s_j ||f^_ij - f_j||, with f^_ij = P (s_i f_i + s_j f_j) / (s_i + s_j) the best that
    the layer can represent, P the projection on the span of its inputs (Luenam et al. 2025, HF linear). As
    ||f^ - f_i||^2 = (s_j / (s_i + s_j))^2 ||P f_i - P f_j||^2 + ||(I - P) f_i||^2, second moments are enough.
    Without a projected gram P is the identity.
    """
    d = stats.squares if stats.projected is None else np.diag(stats.projected)
    first, second = stats.part(0), stats.part(1)
    between = np.maximum(d[first][:, None] + d[second][None, :] - 2 * stats.block(0, 1, stats.projected), 0.0)
    outside = np.maximum(stats.squares - d, 0.0)
    s, t = stats.importance[0][:, None], stats.importance[1][None, :]
    to_first = np.sqrt((t / (s + t)) ** 2 * between + outside[first][:, None])
    to_second = np.sqrt((s / (s + t)) ** 2 * between + outside[second][None, :])
    costs: Array = s * to_first + t * to_second
    return costs


@register(
    "grouping",
    "hungarian",
    title="Hungarian (HF)",
    citation="Luenam et al. 2025, neuron-centric fusion by interpolation",
    needs={"moments", "importance"},
    scope="level",
    min_parents=1,
    max_parents=2,
    pairs=True,
    equivariant=True,
)
def hungarian(stats: SpaceStats) -> Grouping:
    """Pair the neurons of two parents one to one so that the summed importance-weighted distance to the pair's
    fused feature is smallest.

    stats: two parents of equal width (FusionError otherwise). Labels of parent 1 are 0..n-1.
    """
    require_equal_widths(stats.space, "hungarian", stats.sizes, stats.size)
    costs = pair_costs(stats)
    rows, columns = linear_sum_assignment(costs)
    labels = np.empty(2 * stats.size, dtype=np.int64)
    labels[: stats.size] = np.arange(stats.size)
    labels[stats.size + columns] = rows
    return labels_from_stats(stats, "hungarian", labels, {"cost": float(costs[rows, columns].sum())})
