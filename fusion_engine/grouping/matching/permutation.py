"""Activation matching (Git Re-Basin): permute each parent's neurons so that their features agree best."""

from typing import Annotated, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.registry import Param, register
from ...core.types import Array, Grouping
from ...stats import SpaceStats, WideStats
from ..from_labels import require_equal_widths
from ..parameters import FeaturesParameter, WeightsParameter
from ..similarity import correlations, normalised, similar_points
from .alignment import (
    AgainstParameter,
    ReferenceParameter,
    align_maps,
    align_orders,
    averaged,
    merged_orders,
    products,
    reorder,
)

Score = Literal["correlation", "inner_product"]
_TIE = 1e-6  # what the raw features' cosine counts beside the correlation: it decides between neurons that never vary


@register(
    "grouping",
    "permutation",
    title="Permutation (activation matching)",
    citation="Ainsworth et al. 2023, Git Re-Basin (activation matching)",
    needs={"moments": {}, "importance": {"weights": "importance"}},
    equivariant=True,
    pairs=True,
)
def permutation(
    stats: SpaceStats,
    *,
    score: Annotated[Score, Param("what the matching maximises the sum of")] = "correlation",
    features: FeaturesParameter = "post",
    weights: WeightsParameter = "uniform",
    against: AgainstParameter = "reference",
    reference: ReferenceParameter = 1,
) -> Grouping:
    """Matches each parent's neurons one to one to the reference's, so that the features they share agree best.

    P = argmax_P <P, Z_ref Z_p^T>, a linear sum assignment over the (n, n) products of the features Z (rows neurons),
    or of the features standardised (correlation); fused features are the mean of the matched ones (Ainsworth et al.
    2023, section 3.1). stats: any number of parents of equal width (FusionError otherwise).
    """
    require_equal_widths(stats.space, "permutation", stats.sizes, stats.size)
    standard = score == "correlation"
    if isinstance(stats, WideStats):
        orders = align_orders(stats, score_points(stats, score), reference, against, standard)
        return merged_orders(stats, "permutation", orders, weights == "importance")
    gains = scores(stats, score)

    def solve(target: Array, p: int) -> Array:
        found = products(target, gains)
        if standard:  # the target is a mean of standardised features, which varies less than they do
            found /= np.sqrt(np.maximum(np.einsum("gi,gi->g", found, target), 1e-12))[:, None]
        return reorder(linear_sum_assignment(found[:, stats.part(p)], maximize=True)[1])

    maps = align_maps(stats, reference, against, solve)
    importance = stats.importance if weights == "importance" else None
    return averaged(stats.space, "permutation", maps, [r.T for r in maps], importance)


def scores(stats: SpaceStats, score: Score) -> Array:
    """(N, N) what two neurons gain by being matched."""
    return stats.gram if score == "inner_product" else correlations(stats) + _TIE * normalised(stats).gram


def score_points(stats: WideStats, score: Score) -> Array:
    """(N, m) points whose products are the `scores`."""
    return stats.points.at.astype(np.float64) if score == "inner_product" else similar_points(stats, _TIE)
