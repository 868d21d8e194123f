"""Mean absolute activation."""

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Program, Trace, output_shape
from ..tasks import find_task
from .attribution import OUTPUT, mean_scores, site_nodes, summed


@register("importance", "activation", title="Mean activation", needs={"moments"})
def activation(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """Mean of |f|, the neuron's pre-activation, summed over positions. Needs no labels, and no classes."""
    sites, nodes = site_nodes(trace)
    program = Program(trace, None, nodes)
    task = find_task(data, output_shape(trace))

    def scores(x: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        with torch.inference_mode():
            values = program(state, x)
        found = summed(trace, sites, values[: len(sites)], data.counted(x))
        if task is None:
            return found
        logits, _ = task.rows(values[-1], x, None)
        return {**found, OUTPUT: task.channels(logits.abs().sum(0, dtype=torch.float64))}

    return mean_scores(trace, state, data, progress, scores)
