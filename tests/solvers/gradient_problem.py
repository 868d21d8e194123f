"""A small fusion problem for the tests of the gradient solver."""

from __future__ import annotations

import torch

from fusion_engine.core import registry
from fusion_engine.core.recipe import Step
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import trace
from fusion_engine.importance import score
from tests.fusions import Fusion
from tests.zoo import build

SAMPLES = 120  # 24 held out: enough for choices to be made


class Problem:
    """Two noisy relatives of a zoo model, and calibration samples."""

    def __init__(self, name: str = "mlp", samples: int = SAMPLES, noise: float = 0.4) -> None:
        model, inputs = build(name)
        self.trace = trace(model, inputs)
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(samples, *inputs[0].shape[1:], generator=generator)
        if not inputs[0].is_floating_point():
            x = torch.randint(int(inputs[0].max()) + 1, x.shape, generator=generator)
        self.data = canonical_order(Dataset(x=x, y=torch.arange(samples) % 4, classes=4))
        state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.states = [state, {k: self._noisy(v, noise, generator) for k, v in state.items()}]

    @staticmethod
    def _noisy(tensor: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.numel() < 2:
            return tensor.clone()
        return tensor + noise * tensor.std() * torch.randn(tensor.shape, generator=generator)

    def context(self, grouping: str = "kmeans", **more) -> Fusion:
        scores = [score(self.trace, s, self.data, "activation", {}) for s in self.states]
        step = Step(method=grouping, parameters=registry.check_parameters("grouping", grouping, {}))
        return Fusion(
            trace=self.trace,
            states=tuple(self.states),
            data=self.data,
            importance=tuple(scores),
            grouping=step,
            **more,
        )
