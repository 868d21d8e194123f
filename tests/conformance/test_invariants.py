"""METHODS.md's invariants over every registered grouping and solver and every zoo architecture they apply to.

Methods come from the registry, architectures from the zoo. What every pairing of them would take too long for is tried
on a few architectures of different kinds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from fusion_engine.context import FusionContext
from fusion_engine.solvers.head import output_layer

from fusion_engine.core import registry
from fusion_engine.core.recipe import Step
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import Program, Trace, permute_state, trace
from fusion_engine.importance import score
from fusion_engine.importance.attribution import has_classes
from fusion_engine.post import refine
from fusion_engine.solvers import solve
from tests.zoo import build, zoo_names

GROUPINGS = registry.names("grouping")
SOLVERS = registry.names("solver")
SAMPLES = 40
# They take the parents as a grouping aligns them, as solver average does, which is tried with every grouping.
LIKE_AVERAGE = [s for s in SOLVERS if registry.get("solver", s).aligned_only and s != "average"]
# One grouping of each kind goes with every solver on every architecture: none, pairs of two parents, groups of any
# size, and one neuron of every parent. What other groupings give a solver is of these kinds.
KINDS = ("identity", "hungarian", "kmeans", "balanced")
FEW = ("mlp", "vgg_bn_2fc", "resnet", "vit_fused")


def pairs(*without: str) -> list[tuple[str, str]]:
    """Groupings and the solvers that accept them; one grouping is enough for the solvers like average."""
    found = []
    for solver in SOLVERS:
        accepts = registry.get("solver", solver).accepts
        accepted = [g for g in GROUPINGS if accepts is None or g in accepts]
        if solver in LIKE_AVERAGE:
            accepted = ["kmeans"] if "kmeans" in accepted else accepted[:1]
        found += [(grouping, solver) for grouping in accepted if grouping not in without]
    return found


def cases(*without: str, everywhere: bool = True) -> list[tuple[str, str, str]]:
    """Architectures with `pairs`; everywhere: all groupings on all architectures, with solver average."""
    return [
        (name, grouping, solver)
        for name in zoo_names()
        for grouping, solver in pairs(*without)
        if grouping in KINDS
        or (solver == "average" and (everywhere or name in FEW))
        or (solver == "least_squares" and name in FEW[:2])
        or name == FEW[0]
    ]


def some_cases(*without: str, few: tuple[str, ...] = FEW) -> list[tuple[str, str]]:
    """Architectures with groupings: all of them for one of each kind, the `few` for the others."""
    return [
        (name, grouping)
        for name in zoo_names()
        for grouping in GROUPINGS
        if grouping not in without and (grouping in KINDS or name in few)
    ]


class OneInput(torch.nn.Module):
    """A model of several vectors as one of a single vector: the engine's data sets hold one tensor a sample."""

    def __init__(self, model: torch.nn.Module, sizes: list[int]) -> None:
        super().__init__()
        self.model, self.sizes = model, sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(*x.split(self.sizes, 1))


class Case:
    """A zoo model, traced once, with calibration samples like its input."""

    def __init__(self, name: str) -> None:
        self.model, inputs = build(name)
        if len(inputs) > 1:
            self.model = OneInput(self.model, [x.shape[1] for x in inputs]).eval()
            inputs = (torch.cat(inputs, 1),)
        self.trace: Trace = trace(self.model, inputs)
        generator = torch.Generator().manual_seed(1)
        shape = (SAMPLES, *inputs[0].shape[1:])
        x = torch.randn(shape, generator=generator)
        if not inputs[0].is_floating_point():
            x = torch.randint(int(inputs[0].max()) + 1, shape, generator=generator)
        y = torch.arange(SAMPLES) % 2
        self.data = canonical_order(Dataset(x=x, y=y, classes=2))
        self.state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.program = Program(self.trace, None, [self.trace.output])
        self._fused: dict[tuple[str, str], tuple] = {}

    def permuted(self, seed: int) -> dict[str, torch.Tensor]:
        """A copy of the model with every space permuted at random: the same function."""
        random, state = np.random.default_rng(seed), dict(self.state)
        for space in self.trace.spaces.values():
            state.update(permute_state(state, space, random.permutation(space.size), self.trace))
        return state

    def context(
        self, states: list, grouping: str, data: Dataset | None = None, scale: float = 1.0, **more
    ) -> FusionContext:
        data = self.data if data is None else data
        scores = [
            {k: v * scale for k, v in score(self.trace, s, data, "activation", {}).items()} for s in states
        ]
        return FusionContext(
            trace=self.trace,
            states=tuple(states),
            data=data,
            importance=tuple(scores),
            grouping=Step(method=grouping, parameters=registry.check_parameters("grouping", grouping, {})),
            base=self.state,
            **more,
        )

    def fused(self, grouping: str, solver: str) -> tuple:
        """State and groupings of the model fused with another parent, computed once for all tests."""
        key = grouping, solver
        if key not in self._fused:
            self._fused[key] = solve(self.context([self.state, other_parent(self)], grouping), solver)
        return self._fused[key]

    def outputs(self, state: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([t.flatten(1) for t in self.program(state, self.data.normalised())], 1)


known_case = cache(Case)


@pytest.fixture(params=zoo_names())
def case(request: pytest.FixtureRequest) -> Case:
    return known_case(request.param)


def over(arguments: list[tuple[str, ...]], *names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("case", *names), arguments, indirect=["case"])


@over(cases("identity"), "grouping", "solver")
def test_permuted_copies_give_the_parent_back(case: Case, grouping: str, solver: str) -> None:
    """Invariant 2."""
    fused, _ = solve(case.context([case.state, case.permuted(1)], grouping), solver)
    torch.testing.assert_close(case.outputs(fused), case.outputs(case.state), rtol=1e-4, atol=1e-4)


@over(cases(), "grouping", "solver")
def test_one_parent_alone_comes_back(case: Case, grouping: str, solver: str) -> None:
    """Invariant 3."""
    fused, _ = solve(case.context([case.state], grouping), solver)
    torch.testing.assert_close(case.outputs(fused), case.outputs(case.state), rtol=1e-4, atol=1e-4)


def other_parent(case: Case) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return {
        k: v + 0.3 * v.std() * torch.randn(v.shape, generator=generator)
        if v.is_floating_point() and v.numel() > 1 and "running" not in k
        else v.clone()
        for k, v in case.state.items()
    }


@over(cases(everywhere=False), "grouping", "solver")
def test_same_seed_same_bits_and_inputs_untouched(case: Case, grouping: str, solver: str) -> None:
    """Invariant 4."""
    states = [case.state, other_parent(case)]
    before = [{k: v.clone() for k, v in s.items()} for s in states]
    one, groups = case.fused(grouping, solver)
    other, again = solve(case.context(states, grouping), solver)
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert all((a == b).all() for k in groups for a, b in zip(groups[k].merge, again[k].merge, strict=True))
    assert all(torch.equal(a[k], b[k]) for a, b in zip(before, states, strict=True) for k in a)
    assert not any(m._forward_hooks or m._backward_hooks for m in case.model.modules())
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in one.values())
    assert {k: (v.shape, v.dtype) for k, v in one.items()} == {k: (v.shape, v.dtype) for k, v in case.state.items()}


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s not in LIKE_AVERAGE])
@pytest.mark.parametrize("step", registry.names("post"))
def test_every_step_follows_every_solver(case: Case, step: str, solver: str) -> None:
    """Shapes and types stay, the given state is untouched, and buffers move only where that is the step's purpose."""
    spec = registry.get("post", step)
    context = case.context([case.state, other_parent(case)], "kmeans")
    if "gradients" in spec.needs and (output_layer(case.trace) is None or not has_classes(case.trace)):
        pytest.skip("the model has no layer of classes at its end")
    fused, groupings = case.fused("kmeans", solver)
    before = {k: v.clone() for k, v in fused.items()}
    short = {"steps": 3} if "steps" in {p.name for p in spec.parameters} else {}
    refined = refine(replace(context, groupings=groupings), fused, step, short)
    assert all(torch.equal(before[k], fused[k]) for k in before)
    assert {k: (v.shape, v.dtype) for k, v in refined.items()} == {k: (v.shape, v.dtype) for k, v in fused.items()}
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in refined.values())
    assert all(tensor.isfinite().all() for tensor in refined.values())
    parameters = {alias for name in case.trace.parameters for alias in case.trace.aliases.get(name, (name,))}
    kept = parameters if spec.statistics else set(fused) - parameters
    assert all(torch.equal(refined[k], fused[k]) for k in kept)


def restores(spec: registry.MethodSpec) -> bool:
    """Whether a step puts right what merging did to the parents' features: nothing, where all parents are one. Training
    and statistics of the calibration samples change a parent too."""
    return "gradients" not in spec.needs and not (spec.statistics and "moments" in spec.needs)


RESTORING = [name for name in registry.names("post") if restores(registry.get("post", name))]


@pytest.mark.parametrize("step", RESTORING)
@over(some_cases("identity"), "grouping")
def test_steps_without_training_give_the_parent_back(case: Case, step: str, grouping: str) -> None:
    """Invariants 2 and 3, after a refining step."""
    for states in ([case.state], [case.state, case.permuted(1)]):
        context = case.context(states, grouping)
        fused, groupings = solve(context, "average")
        refined = refine(replace(context, groupings=groupings), fused, step)
        torch.testing.assert_close(case.outputs(refined), case.outputs(case.state), rtol=1e-4, atol=1e-4)


@over(cases(everywhere=False), "grouping", "solver")
def test_sample_order_does_not_matter(case: Case, grouping: str, solver: str) -> None:
    """Invariant 5."""
    states = [case.state, other_parent(case)]
    shuffled = case.data.subset(torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3)))
    one, _ = case.fused(grouping, solver)
    other, _ = solve(case.context(states, grouping, data=canonical_order(shuffled)), solver)
    torch.testing.assert_close(case.outputs(one), case.outputs(other), rtol=1e-5, atol=1e-5)


@over(cases(everywhere=False), "grouping", "solver")
def test_scale_of_importance_does_not_matter(case: Case, grouping: str, solver: str) -> None:
    """Invariant 6."""
    states = [case.state, other_parent(case)]
    one, _ = case.fused(grouping, solver)
    other, _ = solve(case.context(states, grouping, scale=64.0), solver)
    torch.testing.assert_close(case.outputs(one), case.outputs(other), rtol=1e-5, atol=1e-5)


@over(some_cases(few=FEW[:2]), "grouping")
def test_infinite_ridge_is_the_average(case: Case, grouping: str) -> None:
    states = [case.state, other_parent(case)]
    if registry.get("grouping", grouping).scope == "level":
        pytest.skip("its groups depend on the fused prefix, which the average solver has not")
    average, _ = solve(case.context(fold_all(case, states), grouping), "average")
    pulled, _ = solve(case.context(fold_all(case, states), grouping), "least_squares", {"ridge": 1e12})
    torch.testing.assert_close(case.outputs(pulled), case.outputs(average), rtol=1e-4, atol=1e-4)


def fold_all(case: Case, states: list) -> list:
    """Least squares averages folded weights, so the comparison is made between folded parents."""
    from fusion_engine.solvers.fold import fold_norms

    return [fold_norms(s, case.trace.layers.values()) for s in states]


def test_folding_norms_keeps_the_function(case: Case) -> None:
    folded = fold_all(case, [case.state])[0]
    torch.testing.assert_close(case.outputs(folded), case.outputs(case.state), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("memory_mb", [1])
def test_recomputed_activations_give_the_same_result(
    case: Case, memory_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept or computed again: the same weights, up to rounding."""
    from fusion_engine.solvers import activations

    states = [case.state, other_parent(case)]
    kept, _ = solve(case.context(states, "kmeans"), "least_squares", {"ridge": 0.01})
    monkeypatch.setattr(activations, "_BATCH_BYTES", 1)
    monkeypatch.setattr(activations.ParentFeatures, "_fits", lambda *a: False)
    monkeypatch.setattr(activations.FusedPrefix, "_fits", lambda *a: False)
    again, _ = solve(case.context(states, "kmeans"), "least_squares", {"ridge": 0.01, "memory_mb": memory_mb})
    torch.testing.assert_close(case.outputs(kept), case.outputs(again), rtol=1e-3, atol=1e-4)


def test_cancelling_leaves_nothing_behind(case: Case) -> None:
    from fusion_engine.core.errors import Cancelled

    def stop(stage: str, fraction: float, message: str) -> None:
        if stage == "solve":
            raise Cancelled

    with pytest.raises(Cancelled):
        solve(case.context([case.state, other_parent(case)], "kmeans", progress=stop), "least_squares")
    assert not any(m._forward_hooks for m in case.model.modules())
