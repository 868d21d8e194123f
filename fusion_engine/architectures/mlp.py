"""Multi-layer perceptrons of any depth: the input is flattened, then linear layers with an activation between."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar

from torch import Tensor, nn

from .activations import ACTIVATIONS, USUAL_SLOPE, Activation, other_activations
from .registry import Architecture, Match, PlainValues, Shapes, natural, register

_SEARCHED_LAYERS = 12


@dataclass(frozen=True)
class MLPConfig(PlainValues):
    """widths: inputs, hidden layers, classes. activation: a key of ACTIVATIONS, between layers only. negative_slope:
    of leaky_relu."""

    name: ClassVar[str] = "mlp"
    newer: ClassVar[frozenset[str]] = frozenset({"negative_slope"})
    widths: tuple[int, ...]
    activation: str = "relu"
    bias: bool = True
    negative_slope: float = USUAL_SLOPE

    def __post_init__(self) -> None:
        wrong_slope = not -100 < self.negative_slope < 100
        if len(self.widths) < 2 or min(self.widths) < 1 or self.activation not in ACTIVATIONS or wrong_slope:
            raise ValueError(f"not an MLP: widths {self.widths}, activation {self.activation!r}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(inputs,)"""
        return (self.widths[0],)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.widths[-1]

    def __str__(self) -> str:
        activation = "" if self.activation == "relu" else f", {self.activation}"
        activation += f"({self.negative_slope:g})" if self.activation == "leaky_relu" else ""
        return f"mlp {'-'.join(map(str, self.widths))}{activation}"


class MLP(nn.Module):
    """Linear layers fc1, fc2, ...; samples of any shape are flattened first."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.depth = len(config.widths) - 1
        self.activation = Activation(config.activation, config.negative_slope)
        for i, (inputs, outputs) in enumerate(zip(config.widths, config.widths[1:], strict=False), start=1):
            self.add_module(f"fc{i}", nn.Linear(inputs, outputs, bias=config.bias))

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> logits (N, classes)."""
        x = x.flatten(1)
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"fc{i}")(x)
            if i < self.depth:
                x = self.activation(x)
        return x


def recognise(shapes: Shapes, input_shape: tuple[int, ...] | None = None) -> Match | None:
    """Linear weights that form one chain, whatever their names; hidden activation relu."""
    weights = {key.removesuffix("weight"): shape for key, shape in shapes.items() if key.endswith("weight")}
    biases = {key.removesuffix("bias") for key in shapes if key.endswith("bias")}
    if not weights or len(shapes) != len(weights) + len(biases) or any(len(s) != 2 for s in weights.values()):
        return None
    if biases and (biases != set(weights) or any(shapes[f"{n}bias"] != s[:1] for n, s in weights.items())):
        return None
    order = _order(weights)
    if order is None:
        return None
    widths = (weights[order[0]][1], *(weights[name][0] for name in order))
    parts = ("weight", "bias") if biases else ("weight",)
    key_map = {f"fc{i}.{part}": f"{name}{part}" for i, name in enumerate(order, start=1) for part in parts}
    return Match(MLPConfig(widths, bias=bool(biases)), key_map)


def _order(weights: Shapes) -> list[str] | None:
    """Layer names from input to output, or None if shapes and names do not settle it.

    A file's own order counts unless it is merely alphabetical; numbers count where layers of one shape differ
    by their numbers alone; otherwise the shapes must leave exactly one chain.
    """
    given = list(weights)
    numbered = sorted(given, key=natural)
    if given != sorted(given) and _is_chain(given, weights):
        return given
    stems: dict[tuple[int, ...], set[str]] = {}
    for name, shape in weights.items():
        stems.setdefault(shape, set()).add(re.sub(r"\d+", "#", name))
    if all(len(names) == 1 for names in stems.values()) and _is_chain(numbered, weights):
        return numbered
    if len(given) > _SEARCHED_LAYERS:
        return None
    found = list(islice(_chains([], given, weights), 2))
    return found[0] if len(found) == 1 else None


def _is_chain(order: Sequence[str], weights: Shapes) -> bool:
    return all(weights[a][0] == weights[b][1] for a, b in pairwise(order))


def _chains(start: list[str], rest: list[str], weights: Shapes) -> Iterator[list[str]]:
    if not rest:
        yield start
    for name in rest:
        if not start or weights[start[-1]][0] == weights[name][1]:
            yield from _chains([*start, name], [other for other in rest if other != name], weights)


register(Architecture(
    "mlp", MLP, recognise, MLPConfig.read, otherwise="mlp:activation=tanh",
    undecided=lambda config: [other_activations(slopes=True)],
))
