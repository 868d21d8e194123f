"""RESCALE: give every fused neuron the spread that the parents' neurons in its group have, by a factor alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import Grouping, State
from ..fusing import Inputs, RunLog
from .channels import ChannelMoments
from .repair import restored, spread_ratio


@register(
    "post",
    "rescale",
    title="RESCALE",
    citation="Jordan et al. 2023; Qu & Horvath 2025, Vanishing Feature",
    needs={"moments"},
    scope="network",
)
def rescale(inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog) -> dict[str, Tensor]:
    """Multiplies every fused neuron by what brings its spread to the mean spread of the parents' neurons in its group.

    As REPAIR, without the shift: y -> y s'/s, so that a neuron's mean grows with its spread and zero stays zero. What
    REPAIR asks for in addition, the parents' means, is more than a merged neuron can have where groups mix neurons with
    either sign (CCA). Layers and neurons that REPAIR leaves alone stay as they are here too. Returns a new state.
    Labels are not used.
    """
    return restored(inputs, groupings, state, log, "rescale", _change, None)


def _change(own: ChannelMoments, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    scale, _ = spread_ratio(own, mean, spread)
    return scale, torch.zeros_like(scale)
