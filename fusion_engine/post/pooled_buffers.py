"""Pooled buffers: the batch norms' running statistics from the parents' own, without any data."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog
from ..graph import lookup, merge_states
from .norms import BatchNorm, live_norms, with_statistics


@register(
    "post",
    "pooled_buffers",
    title="Pooled BatchNorm buffers",
    citation="Li et al. 2024, merging buffers",
    needs={"weights"},
    uses={"class_counts"},
    scope="network",
    statistics=True,
)
def pooled_buffers(inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog) -> dict[str, Tensor]:
    """Pools the parents' BatchNorm statistics as those of one population. Needs no data.

    mean = sum_p n_p mu_p / sum_p n_p, var = sum_p n_p (var_p + (mu_p - mean)^2) / sum_p n_p over the parents' neurons
    of every group, each with its weight in the group; n_p is the number of parent p's training samples where the class
    counts are known, else equal. The spread between the parents' means counts as variance, which averaging leaves
    out. Follows solver average; see norm_recalibration for the others. Returns a new state.
    """
    norms = live_norms(inputs, state, log, "pooled_buffers")
    changed: dict[str, Tensor] = {}
    for norm in norms:
        if _is_mixed(inputs, groupings, norm):
            log.note(
                f"pooled_buffers: batch norm {norm.name} keeps its averaged statistics, as its neurons are sums with "
                "negative weights; use norm_recalibration"
            )
            continue
        changed |= _pooled(inputs, groupings, norm)
    return with_statistics(inputs.trace, state, changed)


def _pooled(inputs: Inputs, groupings: Mapping[str, Grouping], norm: BatchNorm) -> dict[str, Tensor]:
    """The second moment about 0 is what adds up: the parents' are merged as weights are, and so are their numbers."""
    k, counts = inputs.count, inputs.class_counts
    numbers = [1.0] * k if counts is None else [max(float(n), 1.0) for n in counts.sum(1)]
    means = [lookup(state, norm.mean, inputs.trace).double() for state in inputs.states]
    variances = [lookup(state, norm.var, inputs.trace).double() for state in inputs.states]

    def merged(quantities: list[Tensor]) -> Tensor:
        weighted = [{norm.mean: q * n} for q, n in zip(quantities, numbers, strict=True)]
        return merge_states(weighted, inputs.trace, groupings)[norm.mean]

    number = merged([torch.ones_like(m) for m in means])
    mean = merged(means) / number
    square = merged([v + m.square() for v, m in zip(variances, means, strict=True)]) / number
    return {norm.mean: mean, norm.var: (square - mean.square()).clamp_min(0)}


def _is_mixed(inputs: Inputs, groupings: Mapping[str, Grouping], norm: BatchNorm) -> bool:
    """Whether some neuron is a difference of the parents': its statistics do not follow from theirs."""
    owners = [s.name for s in inputs.trace.spaces.values() if any(m.tensor == norm.mean for m in s.members)]
    grouped = [groupings[name] for name in owners if name in groupings]
    return any((matrix < 0).any() for grouping in grouped for matrix in grouping.merge)
