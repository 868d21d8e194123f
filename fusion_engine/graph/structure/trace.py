"""Trace a model: its graph, spaces of coupled neurons, linear layers and levels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from fusion_engine.core.errors import ParentError
from fusion_engine.core.types import Layer, Level, Space, State

from ..captured.capture import Capture, capture
from ..captured.nodes import shape
from .computed import averaged_as_they_are, computed_weights
from .labeler import Labeler
from .layers import find_layers
from .levels import find_levels
from .nesting import Nest, find_nests
from .spaces import find_spaces

_BLAMED = "exchanging its neurons changes the outputs"


@dataclass(frozen=True)
class Trace:
    """What the engine knows about an architecture. Independent of the values of the weights.

    spaces: name -> Space, in dependency order. layers: name -> Layer, in topological order. levels: consecutive
    stretches of the graph. inputs: node names of the model's inputs. output: node name of the model's output
    ('output' stands for all outputs of a model with several). frozen: (tensor, reason) of dimensions whose
    entries cannot be exchanged. aliases: state name -> all names of the same tensor (tied weights); `Layer` and
    `Member` use the first. shapes: of the tensors in the graph, at the width that was traced. parameters: what
    training may change (no buffers; tied weights once). variants: the same architecture at other widths; spaces,
    layers, levels and nodes have the same names there. indices: integer tensors of the state that say which entries go
    where: in all parents the same.
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
    indices: Mapping[str, Tensor] = field(default_factory=dict)

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


def output_shape(trace: Trace) -> tuple[int, ...] | None:
    """Shape of one sample's output; None of a model that returns several tensors."""
    if trace.output not in trace.capture.outputs:
        return None
    size = shape(trace.capture.node(trace.output))
    return None if size is None else size[1:]


def tensor_of(state: State, name: str, trace: Trace) -> Tensor:
    """The tensor `name` of a state under any of its names; ParentError if it is missing."""
    for alias in (name, *trace.aliases.get(name, ())):
        if alias in state:
            return state[alias]
    raise ParentError(f"the weights have no tensor {name!r}: they do not belong to the traced model")


def lookup(state: State, name: str, trace: Trace) -> Tensor:
    """`tensor_of`, without its gradients."""
    return tensor_of(state, name, trace).detach()


def with_aliases(changed: Mapping[str, Tensor], state: State, trace: Trace) -> dict[str, Tensor]:
    """The changed tensors under every name the state has for them."""
    return {
        alias: tensor
        for name, tensor in changed.items()
        for alias in trace.aliases.get(name, (name,))
        if alias in state
    }


def left_in_place(trace: Trace, names: Collection[str]) -> Trace:
    """The trace without these spaces: their neurons keep their order, and a warning says so."""
    if not names:
        return trace
    frozen = [(m.tensor, _BLAMED) for name in trace.spaces if name in names for m in trace.spaces[name].members]
    return replace(
        trace,
        spaces={name: space for name, space in trace.spaces.items() if name not in names},
        layers={n: replace(x, space=None) if x.space in names else x for n, x in trace.layers.items()},
        frozen=[*trace.frozen, *dict.fromkeys(frozen)],
        warnings=[
            *trace.warnings,
            *(f"warning: space {name!r} stays in place, not grouped but averaged neuron by neuron: {_BLAMED}"
              for name in trace.spaces if name in names),
        ],
        variants=tuple(left_in_place(variant, names) for variant in trace.variants),
    )  # fmt: skip


def trace(model: nn.Module, example_inputs: Sequence[Any]) -> Trace:
    """Trace `model` on inputs like `example_inputs` (a tuple of tensors, batch first; values do not matter).

    The model is not run and not changed. Raises UnsupportedModelError for data-dependent control flow and for
    operators without a label rule.
    """
    graph = capture(model, example_inputs)
    labeler = Labeler(graph)
    spaces, layers, frozen = find_spaces(labeler, find_layers(graph))
    levels, shared = find_levels(graph, layers)
    known, parameters = computed_weights(graph, model.state_dict()), [name for name, _ in model.named_parameters()]
    computed = [
        f"weight {weight.owner!r} is computed from others ({weight.kind}): its layer is averaged, not solved for"
        for weight in known
    ]
    computed += averaged_as_they_are(graph, parameters, known).values()
    return Trace(
        spaces=spaces, layers=layers, levels=levels, inputs=list(graph.inputs),
        output=graph.outputs[0] if len(graph.outputs) == 1 else "output", frozen=frozen,
        warnings=labeler.warnings + shared + computed, aliases=graph.aliases,
        shapes={name: shape(graph.node(node)) or () for node, name in graph.tensors.items()},
        parameters=tuple(parameters), capture=graph,
        indices={graph.tensors[n]: value for n, value in graph.integers.items() if graph.tensors[n] in labeler.indices},
    )  # fmt: skip
