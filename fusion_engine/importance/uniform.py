"""Uniform importance: all neurons count the same."""

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Trace
from ..stats import feature_sites
from .attribution import OUTPUT, own_outputs


@register("importance", "uniform", title="Uniform")
def uniform(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """Every neuron has importance 1. Models without classes get no score of the output."""
    sizes = {name: len(sites[0].index) for name, sites in feature_sites(trace).items()}
    outputs = own_outputs(trace, data)
    if outputs is not None:
        sizes[OUTPUT] = outputs
    return {name: torch.ones(n, dtype=torch.float64) for name, n in sizes.items()}
