"""Bias calibration: give every fused neuron the mean that the parents' neurons in its group have, by its bias alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog
from .channels import ChannelMoments
from .repair import restored


@register(
    "post",
    "bias_calibration",
    title="Bias calibration",
    citation="Nagel et al. 2019, bias correction (for quantised networks)",
    needs={"moments"},
    scope="network",
)
def bias_calibration(inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog) -> dict[str, Tensor]:
    """Moves every fused neuron's bias so that its mean is that of the parents' neurons in its group.

    As REPAIR, without the scale: y -> y + mu' - mu, layer after layer, the layers before it corrected. A layer without
    norm or bias stays as it is, as do those that REPAIR leaves alone. Returns a new state. Labels are not used.
    """
    return restored(inputs, groupings, state, log, "bias_calibration", _change, "so it stays as it is")


def _change(own: ChannelMoments, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(mean), mean - own.mean
