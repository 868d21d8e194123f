"""ZipIt: merge the most correlated neurons, within and between parents, until the fused width is reached."""

from typing import Annotated

import numpy as np

from ...core.registry import Param, register
from ...core.types import Array, Grouping
from ...stats import SpaceStats
from ..from_labels import hard_grouping, require_enough_neurons
from ..parameters import FeaturesParameter, WeightsParameter
from ..planning import WidthPlan
from ..similarity import correlations
from .greedy import merge_greedily

_COPY = 1 - 1e-5  # from this correlation on, neurons are copies: merging them costs nothing, however many there are
_BETWEEN = 1e-6  # equal correlations: rather a pair of two parents than of one

UntilParameter = Annotated[
    float,
    Param("part of the levels that are merged; behind it the parents keep their own neurons, side by side", ge=0, le=1),
]


def separate_widths(plan: WidthPlan, *, until: float, **others: object) -> dict[str, int]:
    """Behind the first `until` of the levels every space holds all parents' neurons."""
    if until >= 1:
        return {}
    last = round(until * plan.levels)
    return {name: sum(sizes) for name, sizes in plan.sizes.items() if plan.level[name] >= last}


@register(
    "grouping",
    "zipit",
    title="ZipIt",
    citation="Stoica et al. 2024, ZipIt: merging models from different tasks without training",
    needs={"moments": {}, "importance": {"weights": "importance"}},
    equivariant=lambda alpha, **_: bool(alpha > 0),  # at 0 all merged neurons are equally alike
    plan=separate_widths,
)
def zipit(
    stats: SpaceStats,
    *,
    alpha: Annotated[
        float, Param("factor on the similarities of a merged neuron: below 1 groups stay small", ge=0, le=1)
    ] = 0.3,
    beta: Annotated[
        float, Param("part of all merges that may be within parents, each with an equal share", ge=0, le=1)
    ] = 0.125,
    until: UntilParameter = 1.0,
    features: FeaturesParameter = "post",
    weights: WeightsParameter = "uniform",
) -> Grouping:
    """Merges the two most correlated neurons of all parents, again and again, until the fused width is reached.

    A merged neuron's similarity to another is the smaller of its parts', times alpha (unless all are copies); at most a
    part beta of the merges are of neurons of one parent, an equal share in each (Stoica et al. 2024, section 4.3).
    Merged features are means, and lead back as copies. Where the fused space has room for all neurons (`until`), none
    are merged: partial zip.

    stats: any number of parents of any widths (FusionError where they have fewer neurons than the fused space).
    """
    require_enough_neurons(stats)
    owner = np.repeat(np.arange(stats.parents), stats.sizes)  # of a group: its parent, -1 if several have a part in it
    merges = len(owner) - stats.size
    left = np.full(stats.parents, int(beta * merges / stats.parents + 1e-9) if stats.parents > 1 else merges)
    alike = correlations(stats) - _BETWEEN * (owner[:, None] == owner[None, :])
    gains = alike.copy()
    for p in np.flatnonzero(left == 0):
        gains[stats.part(int(p)), stats.part(int(p))] = -np.inf

    def updated(current: Array, i: int, j: int) -> Array:
        p = owner[i] if owner[i] == owner[j] else -1
        owner[i], owner[j] = p, -1
        smaller = np.minimum(alike[i], alike[j])
        alike[i] = alike[:, i] = np.where(smaller > _COPY, smaller, alpha * smaller)
        row: Array = alike[i]
        if p < 0:
            return row
        left[p] -= 1
        mine = np.flatnonzero(owner == p)
        if left[p] == 0:
            current[np.ix_(mine, mine)] = -np.inf
        return np.where((owner == p) & (left[p] <= 0), -np.inf, row)

    labels = merge_greedily(gains, stats.size, updated)
    shares = np.ones(len(labels)) if weights == "uniform" else stats.weights
    return hard_grouping(stats.space, "zipit", labels, stats.sizes, stats.size, shares)
