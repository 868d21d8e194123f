"""Small networks with traces and data, and captum's attributions summed as the engine sums its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusion_engine.data import Dataset
from fusion_engine.graph import Trace, trace


@dataclass(frozen=True)
class Case:
    """A model, its trace, data, and the module whose output holds each space's features."""

    model: nn.Module
    trace: Trace
    data: Dataset
    modules: dict[str, nn.Module]

    @property
    def state(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def expected(self, attribute: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
        """Mean over samples of |attribution|, summed over the positions of a channel, by space and 'output'."""
        found = {}
        for name, module in self.modules.items():
            values = attribute(module).detach().double().abs()
            found[name] = values.flatten(2).sum(2).mean(0) if values.ndim > 2 else values.mean(0)
        return found


def make_case(model: nn.Sequential, features: list[int], shape: tuple[int, ...], samples: int = 12) -> Case:
    """`features`: positions of the modules that end each space's producing layer, then of the last layer."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.abs_().add_(0.5)
    model.eval()
    x = torch.randn(samples, *shape, generator=generator)
    y = torch.randint(0, 4, (samples,), generator=generator)
    data = Dataset(x=x, y=y, mean=None, std=None, classes=4, name="random")
    traced = trace(model, (x[:2],))
    by_node = {space.features[0].node: name for name, space in traced.spaces.items()}
    layers = {layer.name: layer for layer in traced.layers.values()}
    modules: dict[str, nn.Module] = {}
    for position, layer in zip(features, layers.values(), strict=True):
        modules[by_node.get(layer.output, "output")] = model[position]
    assert len(modules) == len(features)
    return Case(model, traced, data, modules)


def mlp() -> Case:
    return make_case(
        nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4)), [0, 2, 4], (6,)
    )


def smooth_mlp() -> Case:
    return make_case(
        nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 7), nn.ELU(), nn.Linear(7, 4)), [0, 2, 4], (6,)
    )


def vgg() -> Case:
    layers: list[Any] = [nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(5, 6, 3, padding=1), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 4)]
    return make_case(nn.Sequential(*layers), [0, 3, 7, 9], (2, 8, 8))


def vgg_bn() -> Case:
    layers: list[Any] = [nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(5, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2)]
    layers += [nn.Flatten(), nn.Dropout(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 4)]
    return make_case(nn.Sequential(*layers), [1, 5, 10, 12], (2, 8, 8))


CASES = {"mlp": mlp, "smooth_mlp": smooth_mlp, "vgg": vgg, "vgg_bn": vgg_bn}
