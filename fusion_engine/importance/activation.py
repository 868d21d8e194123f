"""Mean absolute activation."""

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Program, Trace
from .attribution import OUTPUT, has_classes, mean_scores, site_nodes, summed


@register("importance", "activation", title="Mean activation", needs={"moments"})
def activation(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """Mean of |f|, the neuron's pre-activation, summed over positions. Needs no labels, and no classes."""
    sites, nodes = site_nodes(trace)
    program = Program(trace, None, nodes)

    def scores(x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        with torch.inference_mode():
            values = program(state, x)
        found = summed(sites, values[: len(sites)])
        return {**found, OUTPUT: values[-1].abs().sum(0, dtype=torch.float64)} if has_classes(trace) else found

    return mean_scores(trace, state, data, progress, scores)
