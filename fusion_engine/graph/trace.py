"""Trace a model: its graph, spaces of coupled neurons, linear layers and levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from fusion_engine.core.errors import ParentError
from fusion_engine.core.types import Layer, Level, Space, State

from .apply import lookup
from .capture import Capture, capture
from .labeler import Labeler
from .layers import channel_offset, find_layers
from .levels import find_levels
from .nesting import Nest, find_nests
from .nodes import arguments, shape
from .spaces import find_spaces

__all__ = ["Trace", "trace"]


@dataclass(frozen=True)
class Trace:
    """What the engine knows about an architecture. Independent of the values of the weights.

    spaces: name -> Space, in dependency order. layers: name -> Layer, in topological order. levels: consecutive
    stretches of the graph. inputs: node names of the model's inputs. output: node name of the model's output
    ('output' stands for all outputs of a model with several). frozen: (tensor, reason) of dimensions whose
    entries cannot be exchanged. aliases: state name -> all names of the same tensor (tied weights); `Layer` and
    `Member` use the first. shapes: of the tensors in the graph, at the width that was traced. parameters: what
    training may change (no buffers; tied weights once). variants: the same architecture at other widths; spaces,
    layers, levels and nodes have the same names there.
    """

    spaces: dict[str, Space]
    layers: dict[str, Layer]
    levels: list[Level]
    inputs: list[str]
    output: str
    frozen: list[tuple[str, str]]
    warnings: list[str]
    aliases: dict[str, tuple[str, ...]]
    shapes: dict[str, tuple[int, ...]]
    parameters: tuple[str, ...]
    capture: Capture
    variants: tuple[Trace, ...] = ()

    @cached_property
    def nests(self) -> dict[str, Nest]:
        """Block spaces (heads, channel groups) and what lies inside their neurons."""
        return find_nests(self.spaces)

    def fits(self, state: State) -> bool:
        """Whether the tensors of `state` have the widths that were traced."""
        return all(lookup(state, name, self).shape == size for name, size in self.shapes.items())

    def fitting(self, state: State) -> Trace:
        """The trace of the width that `state` has: this one, or one of `variants`.

        Raises ParentError if none fits.
        """
        if not self.variants:
            return self
        for candidate in (self, *self.variants):
            if candidate.fits(state):
                return candidate
        raise ParentError("these weights have widths for which the architecture was not traced")

    def level_of(self, space: Space) -> int | None:
        """Index of the level in which a space's neurons are made: the first that has one of their output tensors."""
        made = {member.tensor for member in space.members if member.role == "out"}
        return next((level.index for level in self.levels if not made.isdisjoint(level.tensors)), None)

    def channel_dim(self, node: str) -> int:
        """Dimension (negative index) along which the channels of a layer's output node lie."""
        graph_node = self.capture.node(node)
        for layer in self.layers.values():
            if layer.output == node:
                weighted = graph_node
                if layer.norm is not None:
                    weighted = arguments(self.capture.node(layer.norm.node))["input"]
                return channel_offset(weighted)
        raise KeyError(f"{node!r} is not the output of a layer")


def trace(model: nn.Module, example_inputs: Sequence[Any]) -> Trace:
    """Trace `model` on inputs like `example_inputs` (a tuple of tensors, batch first; values do not matter).

    The model is not run and not changed. Raises UnsupportedModelError for data-dependent control flow and for
    operators without a label rule.
    """
    graph = capture(model, example_inputs)
    labeler = Labeler(graph)
    spaces, layers, frozen = find_spaces(labeler, find_layers(graph))
    levels, shared = find_levels(graph, layers)
    return Trace(
        spaces=spaces,
        layers=layers,
        levels=levels,
        inputs=list(graph.inputs),
        output=graph.outputs[0] if len(graph.outputs) == 1 else "output",
        frozen=frozen,
        warnings=labeler.warnings + shared,
        aliases=graph.aliases,
        shapes={name: shape(graph.node(node)) or () for node, name in graph.tensors.items()},
        parameters=tuple(name for name, _ in model.named_parameters()),
        capture=graph,
    )
