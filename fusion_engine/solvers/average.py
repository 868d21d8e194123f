"""The average solver: merge the parents' weights as they are, once all spaces are grouped."""

from __future__ import annotations

from torch import Tensor

from ..context import FusionContext
from ..core.registry import register
from ..core.types import Grouping
from ..graph import merge_states
from .head import HeadParameter, head
from .spaces import group_spaces

__all__ = ["average"]


@register(
    "solver",
    "average",
    title="Average of aligned weights",
    citation="Ainsworth et al. 2023; Singh & Jaggi 2020",
    needs={"weights"},
    uses={"importance": {"head_weights": "importance"}},
    scope="network",
    keeps_norms=True,
    aligned_only=True,
)
def average(
    context: FusionContext,
    *,
    head_weights: HeadParameter = "importance",
) -> tuple[dict[str, Tensor], dict[str, Grouping]]:
    """Averages the aligned weights: every fused neuron takes the weighted mean of its group.

    W = sum_p M_p W_p U_p for every weight, biases and norm parameters likewise, after all spaces are grouped.
    Returns the fused state (names, shapes and types of the parents') and the groupings.
    """
    groupings, _ = group_spaces(context)
    with context.watch.stage("solve"):
        context.progress("solve", 0.0, "merging weights")
        weights = head(context, head_weights).for_merge(context)
        return merge_states(context.states, context.trace, groupings, weights), groupings
