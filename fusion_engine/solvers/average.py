"""The average solver: merge the parents' weights as they are, once all spaces are grouped."""

from torch import Tensor

from ..core.registry import register
from ..fusing import BY_IMPORTANCE, HeadParameter, Inputs, RunLog, output_weights
from ..graph import merge_states
from ..grouping import Grouped


@register(
    "solver",
    "average",
    title="Average of aligned weights",
    citation="Ainsworth et al. 2023; Singh & Jaggi 2020",
    needs={"weights"},
    uses={"importance": {"head_weights": BY_IMPORTANCE}},
    scope="network",
    by_level=True,
    keeps_norms=True,
    aligned_only=True,
)
def average(
    inputs: Inputs, grouped: Grouped, log: RunLog, *, head_weights: HeadParameter = "importance"
) -> dict[str, Tensor]:
    """Averages the aligned weights: every fused neuron takes the weighted mean of its group.

    W = sum_p M_p W_p U_p for every weight, biases and norm parameters likewise, after all spaces are grouped.
    Returns the fused state (names, shapes and types of the parents').
    """
    log.progress.report(0.0, "merging weights")
    weights = output_weights(inputs, head_weights).for_merge(inputs.trace, log)
    return merge_states(inputs.states, inputs.trace, grouped.groupings, weights)
