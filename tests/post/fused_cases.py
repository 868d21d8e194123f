"""Two parents of a zoo architecture, fused, with what a refining step is given."""

from __future__ import annotations

from dataclasses import replace

import torch

from fusion_engine.core.recipe import Step
from fusion_engine.core.registry import check_parameters
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import trace
from fusion_engine.importance import score
from tests.fusions import Fusion, solve
from tests.zoo import build


def fused_case(
    name: str,
    solver: str = "average",
    grouping: str = "kmeans",
    samples: int = 24,
    labels: bool = True,
    wrap=lambda module: module,
    **more,
) -> tuple[torch.nn.Module, Fusion, dict[str, torch.Tensor]]:
    """The module, the context with its groupings, and the fused state. `wrap` changes the module before tracing."""
    model, inputs = build(name)
    model = wrap(model).eval()
    graph = trace(model, inputs)
    x = torch.randn(samples, *inputs[0].shape[1:], generator=torch.Generator().manual_seed(1))
    data = canonical_order(Dataset(x=x, y=torch.arange(samples) % 2 if labels else None, classes=2))
    states = []
    for seed in (0, 5):
        other = wrap(build(name, seed)[0])
        states.append({k: v.detach().clone() for k, v in other.state_dict().items()})
    context = Fusion(
        trace=graph,
        states=tuple(states),
        data=data,
        importance=tuple(score(graph, s, data, "activation", {}) for s in states),
        grouping=Step(method=grouping, parameters=check_parameters("grouping", grouping, {})),
        **more,
    )
    fused, groupings = solve(context, solver)
    return model, replace(context, groupings=groupings), fused
