"""Neuron conductance along the straight path from a zero input."""

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import Param, register
from ..core.types import State
from ..data import Dataset
from ..graph import Samples, Trace
from .attribution import OUTPUT, Front, Targets, attribute, gradients, site_nodes, summed


@register(
    "importance",
    "conductance",
    title="Conductance",
    citation="Dhamdhere et al. 2018, How Important Is a Neuron? (arXiv:1805.12233)",
    needs={"gradients"},
    uses={"labels"},
)
def conductance(
    trace: Trace,
    state: State,
    data: Dataset,
    progress: Progress,
    *,
    n_steps: Annotated[
        int,
        Param(
            "points on the path from the zero input; more are more exact", ge=1, le=500, usual=(1, 32),
            label="Path steps",
        ),
    ] = 10,
) -> dict[str, Tensor]:
    """How much of the target logit flows through a neuron as the input grows from 0 to the sample.

    The path integral of d logit / d f * d f (equation 3 of the paper) is a sum over Gauss-Legendre points a_0
    < ... < a_n of gradient(a_i) * (f(a_i+1) - f(a_i)), as in captum's LayerConductance. One forward and
    one backward pass with all points in the batch serves every space at once. Of tokens it is their embeddings that
    grow.
    """
    sites, nodes = site_nodes(trace)
    front = Front(trace, data)
    program = front.program(nodes)
    places = [trace.capture.lies(site.node) for _, site in sites]
    points = torch.as_tensor((1 + np.polynomial.legendre.leggauss(n_steps + 1)[0]) / 2, dtype=torch.float32)

    def scores(x: Tensor, targets: Targets) -> dict[str, Tensor]:
        path = [
            (points.to(s).reshape(-1, *[1] * s.ndim) * s).flatten(0, 1).detach().requires_grad_()
            for s in front.start(state, x)
        ]
        *features, logits = program(state, *path, *front.rest(x, len(points)))
        total = targets.logits(logits, len(points)).sum()
        slopes = gradients(total, features)

        def along_path(f: Tensor, slope: Tensor, place: Samples) -> Tensor:
            dim = place.dim + 1
            at, gradient = (place.apart(t.detach()).unflatten(dim, (len(points), len(x))) for t in (f, slope))
            return place.joined((at.diff(dim=dim) * gradient.narrow(dim, 0, len(points) - 1)).sum(dim))

        found = summed(trace, sites, map(along_path, features, slopes, places), data.counted(x))
        ends = logits.detach().unflatten(0, (len(points), len(x)))
        return {**found, OUTPUT: targets.of_outputs(ends[-1] - ends[0])}

    return attribute(trace, state, data, progress, scores, copies=2 * len(points))
