"""All that the conformance tests touch of the engine's inside: scoring, grouping, solving and refining by a method.

Whatever these stages are handed inside the engine, the tests call the functions below; nothing else in this folder
imports from importance, grouping, solvers, post or what they are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from torch import Tensor

from fusion_engine.core import registry
from fusion_engine.core.progress import Progress
from fusion_engine.core.recipe import Step
from fusion_engine.core.types import Grouping, State
from fusion_engine.data import Dataset
from fusion_engine.fusing import Inputs, RunLog, fold_norms, output_layer, parent_features
from fusion_engine.fusing.prefix import FusedPrefix
from fusion_engine.graph import Trace, output_shape
from fusion_engine.importance import score
from tests.fusions import Fusion, group, refine, solve

__all__ = [
    "Method", "Parents", "Scores", "Solution", "accepted", "aligned_only", "ends_in_classes", "fold", "fuse_states",
    "group_states", "is_equivariant", "is_linear", "output_tensors", "planted", "recomputing", "refine_state",
    "score_state", "uses",
]  # fmt: skip

Scores = Mapping[str, Tensor]
Solution = tuple[dict[str, Tensor], dict[str, Grouping]]
Rule = Annotated[Literal["uniform", "importance"], registry.Param("how much each parent is trusted for each class")]


@dataclass(frozen=True)
class Method:
    """A method with the parameters that are not left at their defaults."""

    kind: str
    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        inside = ",".join(f"{name}={value}" for name, value in self.settings)
        return f"{self.name}[{inside}]" if inside else self.name

    @property
    def spec(self) -> registry.MethodSpec:
        """What is registered."""
        return registry.get(self.kind, self.name)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, checked."""
        return registry.check_parameters(self.kind, self.name, dict(self.settings))


@dataclass(frozen=True)
class Parents:
    """What a fusion is made from. scores: per parent space or 'output' -> (n,); base: what they were trained from;
    counts: (k, classes) training samples by class, where they are known."""

    trace: Trace
    states: Sequence[State]
    data: Dataset
    scores: Sequence[Scores]
    base: State
    counts: np.ndarray | None = None
    seed: int = 0


# ---- what a method says of itself


def uses(method: Method) -> frozenset[str]:
    """What the method looks at with its parameters."""
    return method.spec.used(method.parameters)


def is_linear(method: Method) -> bool:
    """Whether a grouping gives any linear combinations of neurons, not groups."""
    return method.spec.linear


def is_equivariant(method: Method) -> bool:
    """Whether a grouping does not depend on the order of a parent's neurons."""
    return method.spec.is_equivariant(dict(method.settings))


def aligned_only(solver: str) -> bool:
    """Whether a solver sees the parents only as the grouping aligns them, and treats all groupings alike."""
    return registry.get("solver", solver).aligned_only


def accepted(spec: registry.MethodSpec, names: Sequence[str]) -> list[str]:
    """Those of the groupings that a solver takes, or of the solvers that a post step follows."""
    return [name for name in names if spec.accepts is None or name in spec.accepts]


# ---- the stages


def _fusion(parents: Parents, grouping: Method, listener: Callable[[str], None] | None = None, **more: Any) -> Fusion:
    tell = listener or (lambda stage: None)
    return Fusion(
        trace=parents.trace,
        states=tuple(parents.states),
        data=parents.data,
        importance=tuple(parents.scores),
        grouping=Step(method=grouping.name, parameters=grouping.parameters),
        seed=parents.seed,
        class_counts=parents.counts,
        base=parents.base,
        log=RunLog(Progress(lambda event: tell(event.stage))),
        **more,
    )


def score_state(trace: Trace, state: State, data: Dataset, method: Method) -> dict[str, Tensor]:
    """Importances of one parent."""
    return score(trace, state, data, method.name, dict(method.settings))


def fuse_states(
    parents: Parents, grouping: Method, solver: Method, listener: Callable[[str], None] | None = None
) -> Solution:
    """Fused state and groupings. listener: given the stage of every progress event, and may raise."""
    return solve(_fusion(parents, grouping, listener), solver.name, dict(solver.settings))


def group_states(parents: Parents, grouping: Method) -> dict[str, Grouping]:
    """Groupings of all spaces, as a solver gets them that asks for nothing more."""
    return group(_fusion(parents, grouping)).groupings


def refine_state(
    parents: Parents,
    groupings: Mapping[str, Grouping],
    state: State,
    step: Method,
    listener: Callable[[str], None] | None = None,
) -> dict[str, Tensor]:
    """The fused `state` after a step."""
    fusion = _fusion(parents, Method("grouping", "identity"), listener, groupings=groupings)
    return refine(fusion, state, step.name, dict(step.settings))


# ---- what some tests need to know of a network, or to change in the engine


def ends_in_classes(trace: Trace) -> bool:
    """Whether the network gives logits (samples, classes) by a layer at its end."""
    return output_layer(trace) is not None and len(output_shape(trace) or ()) == 1


def output_tensors(trace: Trace) -> tuple[str, ...]:
    """Names of the tensors of the layer at the network's end."""
    last = output_layer(trace)
    assert last is not None
    return (last.weight,) if last.bias is None else (last.weight, last.bias)


def fold(trace: Trace, state: State) -> dict[str, Tensor]:
    """The state with batch norms folded into the layers before them."""
    return fold_norms(state, trace.layers.values())


def recomputing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no activations are kept, and batches are small."""
    monkeypatch.setattr(parent_features, "_BATCH_BYTES", 1)
    monkeypatch.setattr(parent_features.ParentFeatures, "_fits", lambda *a: False)
    monkeypatch.setattr(FusedPrefix, "_fits", lambda *a: False)


# ---- methods of the tests' own


@contextmanager
def planted(kind: str, function: Callable[..., Any], needs: set[str], **flags: Any) -> Iterator[Method]:
    """A method that is registered inside. function, by kind, in the tests' own terms whatever the engine's are:

    importance  f(trace, state, data) -> scores
    grouping    f(stats: SpaceStats) -> Grouping
    solver      f(parents: Parents, groupings, head_weights: 'uniform' or 'importance') -> fused state
    post        f(parents: Parents, groupings, state) -> state
    """
    name = "planted"
    method = {"importance": _importance, "grouping": _grouping, "solver": _solver, "post": _post}[kind](function)
    offered = inspect.signature(registry.register).parameters
    flags = {key: value for key, value in flags.items() if key in offered}
    registry.register(kind, name, title="Planted", needs=needs, **flags)(method)  # type: ignore[arg-type]
    try:
        yield Method(kind, name)
    finally:
        del registry._METHODS[kind, name]  # type: ignore[arg-type]


def _importance(function: Callable[..., Any]) -> Callable[..., Any]:
    def planted_importance(trace: Trace, state: State, data: Dataset, progress: Progress) -> Any:
        return function(trace, state, data)

    return planted_importance


def _grouping(function: Callable[..., Any]) -> Callable[..., Any]:
    def planted_grouping(stats: Any) -> Any:
        return function(stats)

    return planted_grouping


def _given(inputs: Inputs) -> Parents:
    assert inputs.base is not None
    counts = inputs.class_counts
    return Parents(inputs.trace, inputs.states, inputs.data, inputs.importance, inputs.base, counts, inputs.seed)


def _solver(function: Callable[..., Any]) -> Callable[..., Any]:
    def planted_solver(inputs: Inputs, grouped: Any, log: RunLog, *, head_weights: Rule = "importance") -> Any:
        return function(_given(inputs), grouped.groupings, head_weights)

    return planted_solver


def _post(function: Callable[..., Any]) -> Callable[..., Any]:
    def planted_post(inputs: Inputs, groupings: Mapping[str, Grouping], state: State, log: RunLog) -> Any:
        return function(_given(inputs), groupings, state)

    return planted_post
