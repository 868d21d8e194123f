"""PLeaS: merge the best-matched neurons of two parents and keep the others of both, under a budget of weights."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.errors import FusionError, RecipeError
from ...core.registry import OTHERS, Param, nearest, register
from ...core.types import Grouping
from ...stats import SpaceStats, WideStats
from ..from_labels import hard_grouping
from ..parameters import FeaturesParameter, WeightsParameter
from ..planning import WidthPlan
from .permutation import Score, score_points, scores

_STEPS = 12  # halvings of the ratio: to 1/4096


def partial_widths(
    plan: WidthPlan, *, ratio: float | Mapping[str, float], budget: float | None, **others: object
) -> dict[str, int]:
    """Every space of two parents keeps n (2 - r) neurons: r the ratio, its own or that of all; with a budget, spaces
    without a ratio of their own take the smallest common one whose network fits in.

    Raises RecipeError if no network does, and for a ratio of a space that is not there or cannot change.
    """
    own = dict(ratio) if isinstance(ratio, Mapping) else {OTHERS: ratio}
    common = own.pop(OTHERS)
    for name, merged in own.items():
        if name not in plan.sizes and name not in plan.fixed:
            raise RecipeError(f"grouping.ratio: there is no space {name!r}{nearest(name, plan.sizes)}")
        if name in plan.fixed and merged < 1:
            raise RecipeError(f"grouping.ratio: space {name!r} cannot change its width here; leave it out or give it 1")

    def widths(merged: float) -> dict[str, int]:
        parts = {name: own.get(name, merged) for name in plan.sizes}
        return {name: n + sum(n - round(n * parts[name]) for n in rest) for name, (n, *rest) in plan.sizes.items()}

    if budget is None:
        return widths(common)
    alone = plan.parameters({})
    low, high = 0.0, 1.0  # the network of ratio `high` fits
    if plan.parameters(widths(high)) > budget * alone:
        raise RecipeError(f"grouping.budget {budget:g} is too small for the ratios of single spaces; raise it or them")
    if plan.parameters(widths(low)) <= budget * alone:
        return widths(low)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if plan.parameters(widths(middle)) <= budget * alone:
            high = middle
        else:
            low = middle
    return widths(high)


@register(
    "grouping",
    "partial_permutation",
    title="Partial permutation (PLeaS)",
    citation="Nasery et al. 2024, PLeaS: merging models with permutations and least squares",
    needs={"moments": {}, "importance": {"weights": "importance"}},
    equivariant=True,
    max_parents=2,
    widths="equal",
    plan=partial_widths,
)
def partial_permutation(
    stats: SpaceStats,
    *,
    ratio: Annotated[
        float | Mapping[str, float],
        Param("part of the neurons that is merged, of all spaces or by space; 1 keeps the width", ge=0, le=1),
    ] = 0.5,
    budget: Annotated[
        float | None,
        Param("weights of the fused network over the first parent's; sets the ratio of spaces without their own",
              ge=1, le=8),
    ] = None,
    score: Annotated[Score, Param("what the matching maximises the sum of")] = "correlation",
    features: FeaturesParameter = "post",
    weights: WeightsParameter = "uniform",
) -> Grouping:  # fmt: skip
    """Matches the neurons of two parents as activation matching does, merges the best-matched pairs and keeps the rest
    of both parents unmerged.

    With r of n pairs merged the space has n (2 - r) neurons (Nasery et al. 2024, section 3): first parent 1's, merged
    or not, then those of parent 2 that are left. Spaces whose width cannot change (heads, or streams of some
    architectures) are merged whole. stats: one or two parents of equal width; stats.size neurons, from n to 2n
    (FusionError otherwise).
    """
    n = stats.sizes[0]
    pairs = sum(stats.sizes) - stats.size
    if len(set(stats.sizes)) > 1 or not 0 <= pairs <= n * (stats.parents - 1):
        raise FusionError(
            f"space {stats.space!r}: {stats.size} fused neurons cannot be made of parents with "
            f"{', '.join(map(str, stats.sizes))} by merging pairs; use grouping 'kmeans'"
        )
    labels = np.concatenate([np.arange(n), np.full(n, -1)])
    if isinstance(stats, WideStats):
        points = score_points(stats, score)
        gained = points[stats.part(0)] @ points[stats.part(1)].T
    else:
        gained = scores(stats, score)[stats.part(0), stats.part(1)]
    rows, columns = linear_sum_assignment(gained, maximize=True)
    best = np.argsort(-gained[rows, columns], kind="stable")[:pairs]
    labels[n + columns[best]] = rows[best]
    labels[labels < 0] = np.arange(n, stats.size)
    shares = np.ones(2 * n) if weights == "uniform" else stats.weights
    info = {"merged_pairs": int(pairs), "mean_score": float(gained[rows, columns].mean())}
    return hard_grouping(stats.space, "partial_permutation", labels, stats.sizes, stats.size, shares, info)
