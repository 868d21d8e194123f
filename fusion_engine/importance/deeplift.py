"""DeepLIFT with the rescale rule, against a zero input."""

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Trace
from .attribution import OUTPUT, Front, Targets, attribute, gradients, site_nodes, summed
from .rescale import with_rescale_rule


@register(
    "importance",
    "deeplift",
    title="DeepLIFT",
    citation="Shrikumar et al. 2017, Learning Important Features (arXiv:1704.02685)",
    needs={"gradients"},
    uses={"labels"},
)
def deeplift(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """Share of a neuron in the difference of the target logit between the sample and a zero input.

    Multiplier times (f(x) - f(0)), multipliers by the rescale rule (section 3.5.1 of the paper), in one pass for
    all spaces. Of tokens it is their embeddings that are compared with zero.
    """
    sites, nodes = site_nodes(trace)
    dims = [trace.capture.batch_dim(site.node) for _, site in sites]
    front = Front(trace, data)
    program = front.program(nodes, with_rescale_rule(trace, front.nodes))

    def scores(x: Tensor, targets: Targets) -> dict[str, Tensor]:
        pair = [torch.cat([s, torch.zeros_like(s)]).detach().requires_grad_() for s in front.start(state, x)]
        *features, logits = program(state, *pair, *front.rest(x, 2))
        multipliers = gradients(targets.logits(logits, 2).sum(), features)

        def share(f: Tensor, multiplier: Tensor, dim: int) -> Tensor:
            at, base = f.detach().split(len(x), dim)
            attribution: Tensor = (at - base) * multiplier.narrow(dim, 0, len(x))
            return attribution

        found = summed(trace, sites, map(share, features, multipliers, dims), data.counted(x))
        ends = logits.detach()
        return {**found, OUTPUT: targets.of_outputs(ends[: len(x)] - ends[len(x) :])}

    return attribute(trace, state, data, progress, scores, copies=6)
