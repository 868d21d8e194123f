"""docs/add-a-method.md is true: its examples run as they stand there, and what it names is there."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

import fusion_engine
from fusion_engine import fusing
from fusion_engine.core import registry
from fusion_engine.core.errors import Cancelled
from fusion_engine.core.progress import Progress, ProgressEvent
from fusion_engine.core.recipe import Step
from fusion_engine.core.types import State
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.demo import load_demo
from fusion_engine.graph import Program, Trace, permute_state, trace
from fusion_engine.importance import score
from tests.conftest import ROOT
from tests.zoo import build

GUIDE = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^`fusion_engine/(\w+)/(\w+)\.py`\n\n```python\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)
# Plain, with batch norms, of several names for one tensor, and without classes.
MODELS = ("mlp", "vgg_bn_2fc", "tied", "language_model")


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's methods, as if their files stood where it puts them; gone after the test."""
    registry.catalogue()
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    for folder, name, source in EXAMPLES:
        module = types.ModuleType(f"fusion_engine.{folder}.{name}")
        module.__package__ = f"fusion_engine.{folder}"
        exec(compile(source, f"{name}.py", "exec", dont_inherit=True), module.__dict__)
        assert registry.get(folder.removesuffix("s"), name).function.__module__ == module.__name__


def test_there_is_one_example_of_a_grouping_and_one_of_a_solver() -> None:
    assert [(folder, name) for folder, name, _ in EXAMPLES] == [("grouping", "nearest"), ("solvers", "by_magnitude")]


@pytest.mark.parametrize("package", ["graph", "fusing"])
def test_the_helpers_it_names_are_exported(package: str) -> None:
    sentence = re.search(rf"From `fusion_engine\.{package}`: (.*?)\. ?(?:\n\n|From|$)", GUIDE, re.DOTALL)
    assert sentence is not None
    names = re.findall(r"`(\w+)`", sentence[1])
    assert len(names) > 4
    assert set(names) <= set(getattr(fusion_engine, package).__all__)


class Parents:
    """A network of the zoo and another one, traced, with samples."""

    def __init__(self, name: str) -> None:
        model, (x,) = build(name)
        self.trace: Trace = trace(model, (x,))
        generator, shape = torch.Generator().manual_seed(1), (40, *x.shape[1:])
        x = torch.randn(shape, generator=generator) if x.is_floating_point() else torch.randint(5, shape)
        self.data = canonical_order(Dataset(x=x, y=torch.arange(40) % 2, classes=2))
        self.first = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.second = {
            k: v + 0.3 * v.std() * torch.randn(v.shape, generator=generator)
            if v.is_floating_point() and v.numel() > 1 and "running" not in k else v.clone()
            for k, v in self.first.items()
        }  # fmt: skip

    def permuted(self) -> dict[str, Tensor]:
        random, state = np.random.default_rng(2), dict(self.first)
        for space in self.trace.spaces.values():
            state.update(permute_state(state, space, random.permutation(space.size), self.trace))
        return state

    def fused(self, second: Mapping[str, Tensor], grouping: str, solver: str, **parameters: float) -> State:
        from fusion_engine.grouping import group_every_space
        from fusion_engine.solvers import solve

        states = (self.first, second)
        scores = tuple(score(self.trace, s, self.data, "activation", progress=Progress()) for s in states)
        inputs, log = fusing.Inputs(self.trace, states, self.data, scores), fusing.RunLog()
        step = Step(method=grouping, parameters=registry.check_parameters("grouping", grouping, {}))
        return solve(inputs, group_every_space(inputs, step, log), log, solver, parameters)

    def outputs(self, state: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            return Program(self.trace, None, [self.trace.output])(state, self.data.normalised())[0]


@pytest.mark.parametrize("grouping", ["nearest", "kmeans", "permutation"])
@pytest.mark.parametrize("model", MODELS)
def test_its_methods_give_a_parent_back_from_permuted_copies(model: str, grouping: str) -> None:
    parents = Parents(model)
    fused = parents.fused(parents.permuted(), grouping, "by_magnitude")
    torch.testing.assert_close(parents.outputs(fused), parents.outputs(parents.first), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_its_solver_keeps_names_types_and_aliases_and_is_the_mean_at_power_0(model: str) -> None:
    parents = Parents(model)
    fused = parents.fused(parents.second, "permutation", "by_magnitude", power=0)
    mean = parents.fused(parents.second, "permutation", "average")
    assert {k: (v.shape, v.dtype) for k, v in fused.items()} == {k: (v.shape, v.dtype) for k, v in mean.items()}
    for name, tensor in mean.items():
        torch.testing.assert_close(fused[name], tensor)
    for names in parents.trace.aliases.values():
        assert all(torch.equal(fused[name], fused[names[0]]) for name in names if name in fused)


def test_a_parent_without_a_neuron_in_a_group_has_no_say_there() -> None:
    """Groups that k-means makes of parents that differ: where one has no neuron, the other's weight stays whole."""
    parents = Parents("mlp")
    far = {k: v + 3 if v.dim() == 1 else v for k, v in parents.second.items()}
    fused = parents.fused(far, "kmeans", "by_magnitude", power=0)
    first = next(name for name in fused if name.endswith("weight"))
    theirs = torch.cat([parents.first[first], far[first]])
    alone = [row for row in fused[first] if any(torch.allclose(row, one) for one in theirs)]
    assert alone, "no group of a single parent's single neuron"


def test_its_methods_fuse_the_demo_and_can_be_cancelled() -> None:
    data = fusion_engine.load_data("digits:train")
    recipe = {"importance": "activation", "grouping": "nearest", "solver": "by_magnitude"}
    result = fusion_engine.fuse(load_demo()[:2], data, recipe)
    assert [g.method for g in result.groupings.values()] == ["nearest"] * len(result.groupings)

    def stop(event: ProgressEvent) -> None:
        if event.message == "parent 2":
            raise Cancelled

    spec = registry.get("grouping", "nearest")
    assert spec.takes_progress
    with pytest.raises(Cancelled):
        fusion_engine.fuse(load_demo()[:2], data, recipe, on_progress=Progress(stop))
