"""Gradient times activation."""

from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Trace
from .attribution import OUTPUT, Front, Targets, attribute, gradients, site_nodes, summed


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
    front = Front(trace, data)
    program = front.program(nodes)

    def scores(x: Tensor, targets: Targets) -> dict[str, Tensor]:
        start = [s.detach().requires_grad_() for s in front.start(state, x)]
        *features, logits = program(state, *start, *front.rest(x))
        slopes = gradients(targets.logits(logits).sum(), features)
        shares = (f.detach() * g for f, g in zip(features, slopes, strict=True))
        found = summed(trace, sites, shares, data.counted(x))
        return {**found, OUTPUT: targets.of_outputs(logits.detach())}

    return attribute(trace, state, data, progress, scores, copies=2)
