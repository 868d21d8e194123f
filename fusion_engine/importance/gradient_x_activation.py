"""Gradient times activation."""

from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Program, Trace
from .attribution import OUTPUT, attribute, gradients, of_target, site_nodes, summed, target_logits


@register(
    "importance",
    "gradient_x_activation",
    title="Gradient x activation",
    citation="Shrikumar et al. 2016, Not Just a Black Box (arXiv:1605.01713)",
    needs={"gradients"},
    uses={"labels"},
)
def gradient_x_activation(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """First-order change of the target logit when a neuron's pre-activation goes to 0: |f df/dlogit|, one pass."""
    sites, nodes = site_nodes(trace)
    program = Program(trace, None, nodes)

    def scores(x: Tensor, targets: Tensor) -> dict[str, Tensor]:
        *features, logits = program(state, x.detach().requires_grad_())
        slopes = gradients(target_logits(logits, targets).sum(), features)
        found = summed(sites, (f.detach() * g for f, g in zip(features, slopes, strict=True)))
        return {**found, OUTPUT: of_target(logits.detach(), targets)}

    return attribute(trace, state, data, progress, scores, copies=2)
