"""Parents of different widths, and fused networks narrower or wider than their parents."""

from __future__ import annotations

import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.architectures import MLPConfig
from fusion_engine.core.errors import FusionError, RecipeError, UnsupportedModelError
from fusion_engine.data import Dataset
from fusion_engine.parents import Parent
from fusion_engine.training import network, train_parents

RECIPE = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train").subset(list(range(200)))


def untrained(name: str, data: Dataset, width: float = 1.0, parents: int = 2, seed: int = 0) -> list[Parent]:
    few = data.subset(list(range(100)))
    return train_parents(name, few, parents=parents, regime="full", seed=seed, epochs=1, width=width)


@pytest.mark.parametrize("solver", ["average", "least_squares"])
@pytest.mark.parametrize("width", [0.5, 1.5])
@pytest.mark.parametrize("name", ["mlp", "vgg_bn", "resnet20", "vit"])
def test_target_width(digits: Dataset, name: str, width: float, solver: str) -> None:
    parents = untrained(name, digits, width=0.5)
    result = fuse(parents, digits, {**RECIPE, "solver": solver, "width": width}, seed=0)
    report = result.report["width"]
    kept = name == "vit"  # its stream and its heads cannot change
    assert report["relative"] == width or (kept and min(width, 1) < report["relative"] < max(width, 1))
    assert report["parameters"] == sum(p.numel() for p in result.model.parameters())
    assert (report["parameters"] < report["parents_parameters"][0]) == (width < 1)
    assert torch.isfinite(result.model(digits.normalised(slice(0, 4)))).all()


def test_wider_than_one_parent_needs_as_many_neurons(digits: Dataset) -> None:
    parents = untrained("mlp", digits)
    with pytest.raises(FusionError, match="lower the width"):
        fuse(parents, digits, {**RECIPE, "width": 2.5})


def test_doubled_width_holds_both_parents(digits: Dataset) -> None:
    """Twice the neurons for two parents: every neuron is its own group, so hidden layers lose nothing."""
    parents = untrained("mlp", digits)
    result = fuse(parents, digits, {**RECIPE, "solver": {"method": "average", "head_weights": "uniform"}, "width": 2.0})
    assert all(len(set(g.labels[0]) & set(g.labels[1])) == 0 for g in result.groupings.values() if g.labels)


def test_one_parent_is_compressed(digits: Dataset) -> None:
    parent = untrained("mlp", digits)[:1]
    result = fuse(parent, digits, {**RECIPE, "width": 0.5})
    assert result.report["width"]["parameters"] < result.report["width"]["parents_parameters"][0]


@pytest.mark.parametrize("name", ["mlp", "vgg_bn", "resnet20"])
def test_parents_of_different_widths(digits: Dataset, name: str) -> None:
    narrow, wide = untrained(name, digits, width=0.5)[0], untrained(name, digits, width=0.75, seed=1)[1]
    test = load_data("digits:test")
    result = fuse([narrow, wide], digits, RECIPE, test=test)
    assert {k: v.shape for k, v in result.state.items()} == {k: v.shape for k, v in narrow.state.items()}
    assert "average" not in result.report
    assert any("different widths" in note for note in result.report["warnings"])
    other = fuse([wide, narrow], digits, RECIPE)
    assert {k: v.shape for k, v in other.state.items()} == {k: v.shape for k, v in wide.state.items()}


def test_heads_of_different_sizes_are_refused(digits: Dataset) -> None:
    parents = [untrained("vit", digits, width=w)[0] for w in (0.5, 1.0)]
    with pytest.raises(UnsupportedModelError, match="equal widths"):
        fuse(parents, digits, RECIPE)


def test_pairing_keeps_the_width(digits: Dataset) -> None:
    with pytest.raises(RecipeError, match="use grouping 'kmeans'"):
        fuse(untrained("mlp", digits), digits, {**RECIPE, "grouping": "balanced", "width": 0.5})


def test_networks_scale(digits: Dataset) -> None:
    config = network("mlp", digits, 0.5)
    assert isinstance(config, MLPConfig)
    assert config.widths[1] * 2 == network("mlp", digits).widths[1]  # type: ignore[attr-defined]
