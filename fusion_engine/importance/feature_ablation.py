"""Feature ablation: what the target logit loses without a neuron."""

import math

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.registry import register
from ..core.types import Site, State
from ..data import Dataset
from ..graph import Program, Trace, dependents, is_symbolic
from ..stats import fitting_batch
from .attribution import OUTPUT, Targets, attribute, site_nodes


@register("importance", "feature_ablation", title="Feature ablation", needs={"moments"}, uses={"labels"})
def feature_ablation(trace: Trace, state: State, data: Dataset, progress: Progress) -> dict[str, Tensor]:
    """Change of the target logit when a neuron's pre-activation is set to 0 at all positions.

    A neuron that several layers make (of a residual stream) is ablated at each in turn, and the changes add up.
    Exact but slow: the network after the neuron's layer runs once for every neuron, several in one batch.
    """
    sites, nodes = site_nodes(trace)
    rests = {site.node: _after(trace, site.node) for _, site in sites}
    shared = sorted({node for crossing in rests.values() for node in crossing})
    program = Program(trace, None, [*nodes, *shared])
    programs = {node: Program(trace, [node, *crossing], [trace.output]) for node, crossing in rests.items()}
    dims = {node: trace.capture.batch_dim(node) for node in [*rests, *shared]}
    at_once = fitting_batch(trace)

    def scores(x: Tensor, targets: Targets) -> dict[str, Tensor]:
        with torch.inference_mode():
            values = dict(zip([*nodes, *shared], program(state, x), strict=True))
            logits = values[trace.output]
            whole = targets.logits(logits)
            found: dict[str, Tensor] = {}
            for name, site in sites:
                feature, crossing = values[site.node], [values[node] for node in rests[site.node]]
                parts = []
                for keep in _masks(feature, site, max(1, at_once // len(x))):
                    k = len(keep)
                    ablated = (keep * feature).movedim(0, dims[site.node]).flatten(dims[site.node], dims[site.node] + 1)
                    around = [torch.cat([c] * k, dims[n]) for c, n in zip(crossing, rests[site.node], strict=True)]
                    (out,) = programs[site.node](state, ablated, *around)
                    change = whole - targets.logits(out, k).unflatten(0, (k, len(x)))
                    parts.append(change.abs().flatten(1).sum(1, dtype=torch.float64))
                found[name] = torch.cat(parts) + found.get(name, 0)
            return {**found, OUTPUT: targets.of_outputs(logits)}

    return attribute(trace, state, data, progress, scores)


def _after(trace: Trace, node: str) -> list[str]:
    """Names of the nodes, besides `node`, that the rest of the network after it reads (skip connections)."""
    graph = trace.capture.graph
    after = dependents(graph, {node})
    before = dependents(graph, set(trace.inputs)) - after
    inputs = {i for n in graph.nodes if n.name in after and n.name != node for i in n.all_input_nodes}
    return sorted(i.name for i in inputs if i.name in before and not is_symbolic(i))


def _masks(feature: Tensor, site: Site, at_once: int) -> list[Tensor]:
    """Factors (k, ...), broadcastable to `feature`, that are 0 at the entries of one neuron each."""
    dims = [1 + d % feature.ndim for d in site.dims]
    extents = [feature.shape[d - 1] for d in dims]
    index = torch.as_tensor(site.index, device=feature.device).flatten(1)
    keep = torch.ones(len(index), math.prod(extents), device=feature.device).scatter_(1, index, 0.0)
    front = keep.reshape(-1, *extents, *[1] * (feature.ndim - len(dims)))
    return list(front.movedim(tuple(range(1, 1 + len(dims))), dims).split(at_once))
