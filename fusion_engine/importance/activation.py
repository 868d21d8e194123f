"""Mean absolute activation."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.registry import register
from ..core.types import ProgressCallback, State, no_progress
from ..data import Dataset
from ..graph import Program, Trace
from .attribution import OUTPUT, attribute, site_nodes, site_scores

__all__ = ["activation"]


@register("importance", "activation", title="Mean activation", needs={"moments"})
def activation(
    trace: Trace,
    state: State,
    data: Dataset,
    on_progress: ProgressCallback = no_progress,
) -> dict[str, Tensor]:
    """Mean of |f|, the neuron's pre-activation, summed over positions. Needs no labels."""
    sites, nodes = site_nodes(trace)
    program = Program(trace, None, nodes)

    def scores(x: Tensor, targets: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            *features, logits = program(state, x)
        found = {name: site_scores(f, s) for f, (name, s) in zip(features, sites.items(), strict=True)}
        return {**found, OUTPUT: logits.abs().sum(0, dtype=torch.float64)}

    return attribute(trace, state, data, on_progress, scores)
