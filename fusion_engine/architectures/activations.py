"""Activation functions by name, and what a network may have that its weights do not tell."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu, "gelu": functional.gelu, "silu": functional.silu, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "elu": functional.elu, "leaky_relu": functional.leaky_relu,
}
USUAL_SLOPE: Final = 0.01
_SLOPES: Final = (USUAL_SLOPE, 0.1, 0.2)


class Activation(nn.Module):
    """A function of ACTIVATIONS as a module without tensors. slope: of leaky_relu below zero."""

    def __init__(self, name: str, slope: float = USUAL_SLOPE) -> None:
        super().__init__()
        self.function = ACTIVATIONS[name]
        if name == "leaky_relu":
            self.function = partial(functional.leaky_relu, negative_slope=slope)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return self.function(x)


def other_activations(slopes: bool = False) -> Iterator[Mapping[str, Any]]:
    """Settings of every activation that a network may have. slopes: also those of leaky_relu, where it has a setting
    `negative_slope`."""
    for name in ACTIVATIONS:
        if name == "leaky_relu" and slopes:
            yield from ({"activation": name, "negative_slope": slope} for slope in _SLOPES)
        else:
            yield {"activation": name}
