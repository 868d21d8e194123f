"""TIES against a worked example and a direct formula, and a base model that is missing or does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.architectures import MLPConfig
from fusion_engine.core.errors import ParentError, RecipeError
from fusion_engine.core.recipe import Recipe, Step
from fusion_engine.core.seeds import torch_generator
from fusion_engine.data import Dataset, balanced_sample
from fusion_engine.graph import trace
from fusion_engine.importance import score
from fusion_engine.parents import Parent, make_parent, save_parent
from fusion_engine.solvers.ties import _elected, _trimmed
from tests.fusions import Fusion, solve
from tests.zoo import build


def noisy(state: dict[str, torch.Tensor], seed: int, scale: float = 0.1) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        k: v + scale * torch.randn(v.shape, generator=random) * v.abs().mean() if v.is_floating_point() else v + 1
        for k, v in state.items()
    }


def case(name: str = "mlp", parents: int = 3) -> Fusion:
    model, inputs = build(name)
    base = {k: v.detach().clone() for k, v in model.state_dict().items()}
    states = tuple(noisy(base, seed) for seed in range(parents))
    graph = trace(model, inputs)
    data = Dataset(x=torch.cat(list(inputs)), y=None, classes=2)
    scores = tuple(score(graph, s, data, "uniform", {}) for s in states)
    return Fusion(trace=graph, states=states, data=data, importance=scores, grouping=Step(method="identity"),
                         base=base)


def test_a_worked_example() -> None:
    """Three task vectors of four entries, density 1/2. Trimmed: (4, -3, 0, 0), (0, 2, -3, 0), (5, 0, 2, 0). Their sums
    (9, -1, -1, 0) elect +, -, -; the means of those that agree are (4.5, -3, -3, 0)."""
    tasks = [(4.0, -3.0, 1.0, 0.5), (1.0, 2.0, -3.0, 0.5), (5.0, 0.5, 2.0, -1.0)]
    random = torch_generator(0)
    trimmed = [
        _trimmed({"a": torch.tensor(t[:2]), "b": torch.tensor(t[2:])}, 0.5, "magnitude", random) for t in tasks
    ]
    assert torch.cat([trimmed[1]["a"], trimmed[1]["b"]]).tolist() == [0, 2, -3, 0]
    first, disputed = _elected([t["a"] for t in trimmed])
    assert first.tolist() == [4.5, -3.0]
    assert disputed == 1
    assert _elected([t["b"] for t in trimmed])[0].tolist() == [-3.0, 0.0]


@pytest.mark.parametrize("density", [0.1, 0.55, 1.0])
def test_against_the_formula_on_one_long_vector(density: float) -> None:
    context = case()
    fused, _ = solve(context, "ties", {"density": density, "scale": 0.5})
    names = list(context.trace.parameters)
    flat = torch.stack([torch.cat([s[n].flatten() for n in names]) for s in context.states]).double()
    base = torch.cat([context.base[n].flatten() for n in names]).double()
    changes = flat - base
    for row in changes:
        order = row.abs().argsort(descending=True)
        row[order[max(1, int(density * len(row))) :]] = 0
    signs = changes.sum(0).sign()
    wanted = base.clone()
    for i in range(len(base)):
        agreeing = [float(c) for c in changes[:, i] if float(c) * float(signs[i]) > 0]
        wanted[i] += 0.5 * sum(agreeing) / len(agreeing) if agreeing else 0
    torch.testing.assert_close(torch.cat([fused[n].flatten() for n in names]), wanted.float(), rtol=1e-5, atol=1e-6)
    assert 0 <= context.decisions["ties"]["disputed"] <= 1


def test_parents_that_are_one_come_back() -> None:
    context = case(parents=1)
    context = replace(context, states=context.states * 3, importance=context.importance * 3)
    fused, groupings = solve(context, "ties", {"density": 1.0})
    for name, tensor in context.states[0].items():
        torch.testing.assert_close(fused[name], tensor)
    assert list(groupings) == list(context.trace.spaces)


def test_running_statistics_are_averaged_and_tied_weights_stay_tied() -> None:
    context = case("vgg_bn_2fc")
    fused, _ = solve(context, "ties")
    name = next(n for n in fused if n.endswith("running_var"))
    torch.testing.assert_close(fused[name], torch.stack([s[name] for s in context.states]).mean(0))
    context = case("tied")
    fused, _ = solve(context, "ties")
    for names in context.trace.aliases.values():
        assert all(torch.equal(fused[names[0]], fused[n]) for n in names if n in fused and names[0] in fused)


def test_random_drops_keep_the_changes_on_average() -> None:
    context = case()
    random = {"drop": "random", "density": 0.5}
    one, again, other = (solve(replace(context, seed=seed), "ties", random)[0] for seed in (0, 0, 1))
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in context.trace.parameters)
    change = {"w": torch.ones(20_000, dtype=torch.float64)}
    kept = _trimmed(change, 0.25, "random", torch_generator(0))["w"]
    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert abs(float(kept.mean()) - 1) < 0.05


def test_other_groupings_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"'ties' does not work with grouping 'kmeans'; nearest .* 'identity'"):
        Recipe(grouping="kmeans", solver="ties").checked(2, {"base"})


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_data("digits:train")
    return data.subset(balanced_sample(data, 5).tolist())


def network(name: str, seed: int, *widths: int) -> Parent:
    config = MLPConfig((64, *(widths or (12,)), 10))
    from fusion_engine.architectures import build as build_network

    random = torch.Generator().manual_seed(seed)
    shapes = build_network(config).state_dict()
    return make_parent(name, config, {k: torch.randn(v.shape, generator=random) for k, v in shapes.items()})


RECIPE = {"solver": {"method": "ties", "density": 1.0}}


def test_a_missing_base_is_told_before_anything_is_computed(digits: Dataset) -> None:
    def stop(event: object) -> None:
        raise AssertionError("something was computed")

    with pytest.raises(RecipeError, match=r"'ties' needs the base model .*--base FILE"):
        fuse([network("a", 0), network("b", 1)], digits, RECIPE, on_progress=stop)


def test_a_base_model_or_its_file(digits: Dataset, tmp_path) -> None:
    parents, base = [network("a", 0), network("b", 1)], network("base", 2)
    save_parent(tmp_path / "base.safetensors", base)
    one = fuse(parents, digits, RECIPE, base=base)
    two = fuse(parents, digits, RECIPE, base=tmp_path / "base.safetensors")
    assert all(torch.equal(one.state[n], two.state[n]) for n in one.state)
    other = fuse(parents, digits, RECIPE, base=network("base", 3))
    assert not all(torch.equal(one.state[n], other.state[n]) for n in one.state)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        (lambda: network("start", 2, 9), r"start does not fit: 'fc1.weight' is \(9, 64\) there and \(12, 64\)"),
        (lambda: network("start", 2, 12, 12), "start does not fit: start has a tensor 'fc3.weight' and a has"),
        (lambda: with_nan(network("start", 2)), "base model start holds NaN or infinite values in 'fc1.weight'"),
        (lambda: "missing.safetensors", "missing.safetensors: there is no such file"),
    ],
)
def test_a_base_that_does_not_fit(digits: Dataset, base, line: str) -> None:
    with pytest.raises(ParentError, match=line) as told:
        fuse([network("a", 0), network("b", 1)], digits, RECIPE, base=base())
    assert "\n" not in str(told.value)


def with_nan(parent: Parent) -> Parent:
    state = {name: tensor.clone() for name, tensor in parent.state.items()}
    state["fc1.weight"][0, 0] = float("nan")
    return replace(parent, state=state)
