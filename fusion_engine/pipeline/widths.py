"""Parents and fused networks of different widths: what each space's width becomes, and the traces of all widths."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..architectures import Config, build
from ..architectures.resize import resized
from ..core import registry
from ..core.errors import RecipeError, UnsupportedModelError
from ..core.recipe import Step
from ..core.types import Grouping, Space, State
from ..graph import Trace, merge_states, trace
from ..grouping.planning import WidthPlan
from ..parents import Parent, module_for


@dataclass(frozen=True)
class Widths:
    """trace: the first parent's, with the other widths as its variants. sizes: fused neurons by space. config: the
    fused network's. notes: lines for the report."""

    trace: Trace
    sizes: Mapping[str, int]
    config: Config
    notes: tuple[str, ...] = ()


def plan_widths(
    parents: Sequence[Parent], graph: Trace, example: Tensor, width: float = 1.0, grouping: Step | None = None
) -> Widths:
    """Widths of the fused network, `width` times the first parent's in every space that can change, or what the
    `grouping` of a checked recipe asks for.

    Heads and channel groups, and what is inside them, keep their size. Where the architecture has no network with
    another residual stream, only spaces made by a single layer change, and a note says so. Raises
    UnsupportedModelError where the parents' or the wanted widths cannot be had, RecipeError where both `width` and the
    grouping set them.
    """
    graph = _with_variants(parents, graph, example)
    variants = graph.variants
    config = parents[0].architecture
    sizes = {name: space.size for name, space in graph.spaces.items()}
    nests = graph.nests
    fixed = {*nests, *(name for nest in nests.values() for name in nest.inside)}
    for name in fixed:
        if any(variant.spaces[name].size != sizes[name] for variant in variants):
            raise UnsupportedModelError(
                f"the parents' attention heads or channel groups differ in size ({name}), and such cannot be matched; "
                "use parents of equal widths"
            )
    free = [space for space in graph.spaces.values() if space.name not in fixed]
    outputs = {layer.output for layer in graph.layers.values()}
    inside = [space for space in free if len(space.features) == 1 and space.features[0].node in outputs]
    attempts = (free, inside)
    for attempt, spaces in enumerate(attempts):
        try:
            changed = _asked(parents, graph, spaces, grouping)
            if changed and width != 1:
                raise RecipeError("the grouping sets the widths of this network; leave the recipe's width at 1")
            if not changed and width == 1:
                notes = ["the grouping's other widths cannot be had in this architecture"] if attempt else []
                return Widths(graph, sizes, config, tuple(notes))
            wanted = sizes | (changed or {space.name: max(1, round(space.size * width)) for space in spaces})
            config = resized(parents[0].architecture, _shapes(parents[0].state, graph, wanted))
            fused = trace(build(config), (example,))
        except UnsupportedModelError:
            if attempt == len(attempts) - 1 or not attempts[1]:
                raise
            continue
        kept = sorted({s.name for s in free} - {s.name for s in spaces})
        whose = "the grouping's widths" if changed else f"width {width:g}"
        notes = [f"{whose}: {', '.join(kept)} cannot change in this architecture"] if kept else []
        if len(fused.spaces) != len(graph.spaces):
            raise UnsupportedModelError(f"width {width:g} is too small: some layers would have a single neuron")
        return Widths(replace(graph, variants=(*variants, fused)), wanted, config, tuple(notes))
    raise AssertionError("the last attempt returns or raises")


def _asked(parents: Sequence[Parent], graph: Trace, spaces: Sequence[Space], grouping: Step | None) -> dict[str, int]:
    """The widths that the grouping wants to be other than the first parent's, if only `spaces` can change."""
    asked = None if grouping is None else registry.get("grouping", grouping.method).plan
    if grouping is None or asked is None:
        return {}
    state, own = parents[0].state, [graph.fitting(parent.state) for parent in parents]

    def parameters(sizes: Mapping[str, int]) -> int:
        shapes = _shapes(state, graph, {name: s.size for name, s in graph.spaces.items()} | dict(sizes))
        return sum(math.prod(shapes[name]) for name in graph.parameters)

    sizes = {space.name: tuple(t.spaces[space.name].size for t in own) for space in spaces}
    plan = WidthPlan(
        sizes=sizes,
        fixed=graph.spaces.keys() - sizes.keys(),
        level={space.name: graph.level_of(space) or 0 for space in spaces},
        levels=len(graph.levels),
        parameters=parameters,
    )
    return {name: size for name, size in asked(plan, **grouping.parameters).items() if size != graph.spaces[name].size}


def trace_parents(parents: Sequence[Parent], example: Tensor, more: Sequence[State] = ()) -> Trace:
    """The first parent's trace with those of all other widths, of parents and of the states `more`, as its variants.

    Raises UnsupportedModelError for parents that cannot be followed, or have other coupled channels."""
    graph = _with_variants(parents, trace(parents[0].model, (example,)), example)
    variants = list(graph.variants)
    for state in more:
        if not any(known.fits(state) for known in (graph, *variants)):
            variants.append(trace(module_for(parents, state), (example,)))
    return replace(graph, variants=tuple(variants))


def _with_variants(parents: Sequence[Parent], graph: Trace, example: Tensor) -> Trace:
    """The first parent's trace with those of the other parents' widths, once each."""
    variants: list[Trace] = []
    for parent in parents[1:]:
        if not any(known.fits(parent.state) for known in (graph, *variants)):
            variants.append(trace(parent.model, (example,)))
            if list(variants[-1].spaces) != list(graph.spaces):
                raise UnsupportedModelError(
                    f"{parent.name} has other coupled channels than {parents[0].name} at its width; "
                    "use parents of equal widths"
                )
    return replace(graph, variants=tuple(variants))


def _shapes(state: State, graph: Trace, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the fused tensors if the spaces had these sizes: those of a merge by any matrices of that size, of
    tensors without contents."""
    groupings = {}
    for name, space in graph.spaces.items():
        matrix = np.eye(sizes[name], space.size)
        groupings[name] = Grouping(name, "shape", (matrix,), (matrix.T,))
    merged = merge_states([{name: tensor.to("meta") for name, tensor in state.items()}], graph, groupings)
    return {name: tuple(tensor.shape) for name, tensor in merged.items()}
