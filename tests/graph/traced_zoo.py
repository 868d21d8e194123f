"""What the tests of the graph layer share: traced zoo models in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from fusion_engine.graph import Program, Trace, trace
from tests.zoo import build


@dataclass(frozen=True)
class Traced:
    """A zoo model with its trace and its weights and inputs in float64."""

    name: str
    model: nn.Module
    inputs: tuple[Tensor, ...]
    trace: Trace
    state: dict[str, Tensor]
    program: Program

    def run(self, state: dict[str, Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return self.program(state, *(inputs or self.inputs))


def double(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.detach().double() if v.is_floating_point() else v.detach() for k, v in tensors.items()}


@cache
def traced(name: str) -> Traced:
    model, inputs = build(name)
    found = trace(model, inputs)
    wide = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    return Traced(name, model, wide, found, double(model.state_dict()), Program(found, None, [found.output]))


def difference(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))
