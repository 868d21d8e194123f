"""Norm recalibration: estimate the batch norms' running statistics again, on the calibration samples."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog
from ..graph import lookup
from .channels import channels_in_turn
from .norms import BatchNorm, live_norms, with_statistics


@register(
    "post",
    "norm_recalibration",
    title="Norm recalibration",
    citation="Izmailov et al. 2018; for merged networks Jordan et al. 2023",
    needs={"moments"},
    scope="network",
    statistics=True,
)
def norm_recalibration(
    inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog
) -> dict[str, Tensor]:
    """Estimates the running statistics of every BatchNorm again, on the calibration samples.

    Averaged neurons vary less than the parents' and the averaged statistics are not theirs. Norm after norm, with the
    norms before it done, the mean and variance of its input over all samples and positions replace them: what one
    training pass over all samples as a single batch would store (its inputs normalised by the plain variance, the
    unbiased one stored), whatever the momentum and the batch size, and without dropout. num_batches_tracked becomes 1.

    It follows solver average. Least squares folds the norms into their layers, so that they are the identity, and fits
    every layer to the others as they are; there the recipe is refused, and a norm that is folded stays as it is.
    Returns a new state. Labels are not used.
    """
    norms = live_norms(inputs, state, log, "norm_recalibration")
    return _recalibrated(inputs, state, norms, log) if norms else dict(state)


@torch.no_grad()
def _recalibrated(inputs: Inputs, state: State, norms: list[BatchNorm], log: RunLog) -> dict[str, Tensor]:
    current, final = dict(state), dict[str, Tensor]()
    by_mean = {norm.mean: norm for norm in norms}
    places = {norm.mean: (norm.input, 1) for norm in norms}
    for mean, moments in channels_in_turn(inputs, current, places, log, "norm_recalibration"):
        if moments.count > 1:
            var = by_mean[mean].var
            current |= with_statistics(inputs.trace, current, {mean: moments.mean, var: moments.variance})
            final |= {mean: moments.mean, var: moments.unbiased_variance}
    for norm in norms:
        counter = f"{norm.name}.num_batches_tracked"
        if norm.mean in final and counter in state:
            final[counter] = torch.ones_like(lookup(state, counter, inputs.trace))
    return with_statistics(inputs.trace, state, final)
