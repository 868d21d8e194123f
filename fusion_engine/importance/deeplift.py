"""DeepLIFT with the rescale rule, against a zero input."""

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import State
from ..data import Dataset
from ..graph import Program, Samples, Trace
from .attribution import OUTPUT, attribute, gradients, of_target, site_nodes, summed, target_logits
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
    all spaces.
    """
    sites, nodes = site_nodes(trace)
    places = [trace.capture.lies(site.node) for _, site in sites]
    program = Program(with_rescale_rule(trace), None, nodes)

    def scores(x: Tensor, targets: Tensor) -> dict[str, Tensor]:
        pair = torch.cat([x, torch.zeros_like(x)]).detach().requires_grad_()
        *features, logits = program(state, pair)
        multipliers = gradients(target_logits(logits, targets.repeat(2)).sum(), features)

        def share(f: Tensor, multiplier: Tensor, place: Samples) -> Tensor:
            at, base = place.apart(f.detach()).split(len(x), place.dim + 1)
            return place.joined((at - base) * place.apart(multiplier).narrow(place.dim + 1, 0, len(x)))

        found = summed(sites, map(share, features, multipliers, places))
        ends = logits.detach()
        return {**found, OUTPUT: of_target(ends[: len(x)] - ends[len(x) :], targets)}

    return attribute(trace, state, data, progress, scores, copies=6)
