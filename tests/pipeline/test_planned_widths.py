"""Groupings that ask for widths of their own: partial ZipIt and partial permutation, from parents to fused networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion_engine import fuse, load_data
from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.data import Dataset
from fusion_engine.parents import Parent
from fusion_engine.training import train_parents


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train").subset(list(range(120)))


@pytest.fixture(scope="module")
def parents(digits: Dataset) -> dict[str, list[Parent]]:
    return {
        name: train_parents(name, digits, parents=2, regime="full", seed=0, epochs=1, width=0.5)
        for name in ("mlp", "vgg_bn", "resnet20", "vit")
    }


def recipe(grouping: dict, solver: str = "average", **more) -> dict:
    solving = {"method": solver, "head_weights": "uniform"}
    return {"importance": "activation", "grouping": grouping, "solver": solving, **more}


def outputs(models: list[nn.Module], data: Dataset) -> torch.Tensor:
    with torch.inference_mode():
        return torch.stack([model(data.normalised(slice(0, 20))) for model in models]).mean(0)


@pytest.mark.parametrize(
    ("name", "solver"),
    [("mlp", "average"), ("mlp", "least_squares"), ("vgg_bn", "least_squares"), ("resnet20", "average")],
)
def test_nothing_merged_is_the_logit_ensemble(parents, digits: Dataset, name: str, solver: str) -> None:
    """Every neuron of both parents side by side, and the mean of their logits."""
    ways = {"method": "zipit", "until": 0.0}, {"method": "partial_permutation", "ratio": 0.0}
    for grouping in ways if name == "mlp" else ways[:1]:
        result = fuse(parents[name], digits, recipe(grouping, solver))
        expected = outputs([p.model for p in parents[name]], digits)
        torch.testing.assert_close(outputs([result.model], digits), expected, rtol=1e-3, atol=1e-3)
        assert result.report["width"]["relative"] == 2.0


@pytest.mark.parametrize("name", ["mlp", "vgg_bn", "vit"])
def test_a_budget_is_kept(parents, digits: Dataset, name: str) -> None:
    result = fuse(parents[name], digits, recipe({"method": "partial_permutation", "budget": 1.4}))
    width = result.report["width"]
    assert width["parents_parameters"][0] < width["parameters"] <= 1.4 * width["parents_parameters"][0]
    assert torch.isfinite(outputs([result.model], digits)).all()


SINGLE = {"mlp": "fc1", "vgg_bn": "features.4", "resnet20": "layer2.0.conv1", "vit": "blocks.1.mlp.fc1"}


@pytest.mark.parametrize(("name", "space"), SINGLE.items())
def test_a_ratio_by_space(parents, digits: Dataset, name: str, space: str) -> None:
    """Only that space is wider, by what its ratio says; a parent and itself come back."""
    one = parents[name][0]
    ratio = {"others": 1.0, space: 0.25}
    result = fuse([one, one], digits, recipe({"method": "partial_permutation", "ratio": ratio}))
    sizes = {n: (g.merge[0].shape[1], g.size) for n, g in result.groupings.items()}
    own = sizes[space][0]
    assert {n for n, (before, after) in sizes.items() if before != after} == {space}
    assert sizes[space] == (own, own + own - round(own / 4))
    width = result.report["width"]
    assert width["parameters"] == sum(p.numel() for p in result.model.parameters()) > width["parents_parameters"][0]
    neurons = sum(sizes[s.name][0] for s in result.trace.spaces.values() if not s.block)
    assert width["relative"] == pytest.approx((neurons + sizes[space][1] - own) / neurons, abs=1e-4)
    torch.testing.assert_close(outputs([result.model], digits), outputs([one.model], digits), rtol=1e-4, atol=1e-4)


def test_equal_ratios_are_one_ratio(parents, digits: Dataset) -> None:
    ratios = 0.3, {"others": 0.3}, {"fc1": 0.3, "others": 0.3}, {"fc1": 0.3, "fc2": 0.3}
    found = [fuse(parents["mlp"], digits, recipe({"method": "partial_permutation", "ratio": r})) for r in ratios]
    assert all(torch.equal(found[0].state[k], other.state[k]) for other in found[1:] for k in other.state)


def test_ratios_of_spaces_that_are_not_there(parents, digits: Dataset) -> None:
    def asked(name: str, **ratio: float) -> None:
        fuse(parents[name], digits, recipe({"method": "partial_permutation", "ratio": ratio}))

    with pytest.raises(RecipeError, match=r"grouping.ratio: there is no space 'fc3'; did you mean 'fc\d'"):
        asked("mlp", fc3=0.5)
    with pytest.raises(RecipeError, match=r"space 'patch_embed\.proj' cannot change its width here"):
        asked("vit", **{"patch_embed.proj": 0.5})


@pytest.mark.parametrize("grouping", [{"method": "partial_permutation", "ratio": 0.5}, {"method": "zipit", "until": 0}])
def test_one_parent_is_not_widened(parents, digits: Dataset, grouping: dict) -> None:
    result = fuse(parents["mlp"][:1], digits, recipe(grouping))
    assert result.report["width"]["relative"] == 1.0
    expected = outputs([parents["mlp"][0].model], digits)
    torch.testing.assert_close(outputs([result.model], digits), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "vgg_bn", "resnet20", "vit"])
def test_a_parent_and_itself_come_back(parents, digits: Dataset, name: str) -> None:
    one = parents[name][0]
    grouping = {"method": "partial_permutation"} if name == "vit" else {"method": "zipit", "until": 0.5}
    result = fuse([one, one], digits, recipe(grouping))
    torch.testing.assert_close(outputs([result.model], digits), outputs([one.model], digits), rtol=1e-4, atol=1e-4)


def test_spaces_that_cannot_change_are_merged_whole(parents, digits: Dataset) -> None:
    """The stream of a transformer of a fixed patch size, and its heads."""
    result = fuse(parents["vit"], digits, recipe({"method": "partial_permutation", "ratio": 0.5}))
    sizes = {name: (g.size, g.merge[0].shape[1]) for name, g in result.groupings.items()}
    assert any(fused > own for fused, own in sizes.values())
    assert any(fused == own for fused, own in sizes.values())


def test_a_width_of_both_is_refused(parents, digits: Dataset) -> None:
    with pytest.raises(RecipeError, match="leave the recipe's width at 1"):
        fuse(parents["mlp"], digits, recipe({"method": "zipit", "until": 0.0}, width=0.5))


def test_zipit_of_all_levels_takes_any_width(parents, digits: Dataset) -> None:
    result = fuse(parents["mlp"], digits, recipe({"method": "zipit"}, width=1.5))
    assert result.report["width"]["parameters"] > result.report["width"]["parents_parameters"][0]
    assert result.report["width"]["relative"] == 1.5


@pytest.mark.parametrize("name", ["weight_matching", "cca"])
def test_parents_of_different_widths_are_refused_early(parents, digits: Dataset, name: str) -> None:
    other = train_parents("mlp", digits, parents=2, regime="full", seed=1, epochs=1, width=0.75)[0]
    with pytest.raises(RecipeError, match="use grouping 'kmeans'"):
        fuse([parents["mlp"][0], other], digits, recipe({"method": name}))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("mlp", "optimal_transport"), ("mlp", "zipit"), ("vgg_bn", "optimal_transport_weights"),
     ("resnet20", "optimal_transport_weights")],
)  # fmt: skip
def test_parents_of_different_widths(parents, digits: Dataset, kind: str, name: str) -> None:
    other = train_parents(kind, digits, parents=2, regime="full", seed=1, epochs=1, width=0.75)[0]
    result = fuse([parents[kind][0], other], digits, recipe({"method": name}))
    assert {k: v.shape for k, v in result.state.items()} == {k: v.shape for k, v in parents[kind][0].state.items()}
    if kind == "mlp" and name != "zipit":
        with pytest.raises(FusionError, match="reference parent 2 has"):
            fuse([parents[kind][0], other], digits, recipe({"method": name, "reference": 2}))
