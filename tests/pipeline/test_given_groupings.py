"""A fusion from given groupings, and from a level on: what editing a grouping by hand and fusing again stand on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import fusion_engine
from fusion_engine import load_data
from fusion_engine.architectures import ResNetConfig, ViTConfig, build
from fusion_engine.core.errors import FusionError
from fusion_engine.core.types import Grouping
from fusion_engine.data import Dataset, balanced_sample
from fusion_engine.demo import load_demo
from fusion_engine.parents import make_parent
from fusion_engine.stats import StatisticsCache

fuse = partial(fusion_engine.fuse, cache=StatisticsCache())  # traces and moments of the same parents once
SHORT = {"method": "gradient", "epochs": 2, "mixtures": 0}
RECIPES = {
    "average": {"grouping": "permutation", "solver": "average"},
    "by weights": {"grouping": "weight_matching", "solver": "average", "post": ["repair"]},
    "k-means": {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"},
    "late": {"importance": "activation", "grouping": "hungarian", "solver": "least_squares"},
    "regmean": {"grouping": "zipit", "solver": "regmean"},
    "gradient": {"grouping": "balanced", "solver": SHORT, "post": [{"method": "full_distillation", "steps": 20}]},
}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_data("digits:train")
    return data.subset(balanced_sample(data, 12).tolist())


def parents_of(name: str) -> list:
    if name == "vgg":
        return load_demo("vgg")
    if name == "resnet":
        config = ResNetConfig.cifar(8, (1, 8, 8), 10, width=0.5)
    else:
        config = ViTConfig((1, 8, 8), 4, 16, 2, (24, 24), (16, 16), 10)
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(make_parent(f"parent_{seed}", config, build(config).eval().state_dict()))
    return made


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("name", ["vgg", "resnet", "vit"])
def test_the_groupings_of_a_finished_run_give_its_weights_to_the_bit(name: str, recipe: dict, digits: Dataset) -> None:
    parents = parents_of(name)
    first = fuse(parents, digits, recipe)
    again = fuse(parents, digits, recipe, groupings=first.groupings)
    assert same(first.state, again.state)
    assert list(first.groupings) == list(again.groupings)


@pytest.mark.parametrize("recipe", ["average", "k-means", "late"])
def test_some_groupings_may_be_given_and_the_recipe_makes_the_others(recipe: str, digits: Dataset) -> None:
    parents = parents_of("vgg")
    first = fuse(parents, digits, RECIPES[recipe])
    some = dict(list(first.groupings.items())[::2])
    assert same(first.state, fuse(parents, digits, RECIPES[recipe], groupings=some).state)
    other = fuse(parents, digits, {**RECIPES[recipe], "grouping": "balanced"}, groupings=some)
    assert all(other.groupings[space] is grouping for space, grouping in some.items())
    assert {g.method for s, g in other.groupings.items() if s not in some} == {"balanced"}


@pytest.mark.parametrize("recipe", ["average", "by weights", "k-means", "late", "regmean"])
@pytest.mark.parametrize("name", ["vgg", "resnet", "vit"])
def test_going_on_from_a_level_gives_the_same_weights_to_the_bit(name: str, recipe: str, digits: Dataset) -> None:
    parents = parents_of(name)
    first = fuse(parents, digits, RECIPES[recipe])
    for level in (1, len(first.trace.levels) - 1):
        resumed = fuse(parents, digits, RECIPES[recipe], groupings=first.groupings, resume=first.resume(level))
        assert same(first.state, resumed.state)


def test_an_edited_grouping_from_its_level_on_is_the_same_as_from_the_start(digits: Dataset) -> None:
    parents, recipe = parents_of("vgg"), RECIPES["k-means"]
    first = fuse(parents, digits, recipe)
    graph = first.trace
    space = list(graph.spaces.values())[-1]
    level = graph.level_of(space)
    assert level
    edited = {**first.groupings, space.name: exchanged(first.groupings[space.name])}
    whole = fuse(parents, digits, recipe, groupings=edited)
    resumed = fuse(parents, digits, recipe, groupings=edited, resume=first.resume(level))
    assert same(whole.state, resumed.state)
    assert not same(first.state, resumed.state)
    before = {name for part in graph.levels[:level] for name in part.tensors}
    assert all(torch.equal(first.state[name], resumed.state[name]) for name in before)


def test_gradient_goes_on_from_a_level_and_leaves_those_before_it(digits: Dataset) -> None:
    parents, recipe = parents_of("vgg"), {**RECIPES["gradient"], "post": []}
    first = fuse(parents, digits, recipe)
    resumed = fuse(parents, digits, recipe, groupings=first.groupings, resume=first.resume(2))
    kept = {name for level in first.trace.levels[:2] for name in level.tensors}
    assert all(torch.equal(first.state[name], resumed.state[name]) for name in kept)
    assert resumed.report["decisions"]["gradient"]["steps"][0]["reason"] == "kept"


def exchanged(grouping: Grouping) -> Grouping:
    """The first parent's first two neurons change places."""
    order = np.arange(grouping.merge[0].shape[1])
    order[:2] = order[1::-1]
    merge, unmerge = list(grouping.merge), list(grouping.unmerge)
    merge[0], unmerge[0] = merge[0][:, order], unmerge[0][order]
    labels = grouping.labels
    if labels is not None:
        labels = (labels[0][order], *labels[1:])
    return replace(grouping, merge=tuple(merge), unmerge=tuple(unmerge), labels=labels)


def test_groupings_that_do_not_fit_are_refused_in_one_line(digits: Dataset) -> None:
    parents, recipe = parents_of("vit"), RECIPES["k-means"]
    first = fuse(parents, digits, recipe)
    graph = first.trace
    plain = next(s for s in graph.spaces.values() if not s.block and s.size > 2)
    with pytest.raises(FusionError, match=r"a space 'nowhere'; "):
        fuse(parents, digits, recipe, groupings={"nowhere": first.groupings[plain.name]})
    one = replace(first.groupings[plain.name], merge=first.groupings[plain.name].merge[:1])
    with pytest.raises(FusionError, match="is not of these parents"):
        fuse(parents, digits, recipe, groupings={plain.name: one})
    nest = next(iter(graph.nests.values()))
    with pytest.raises(FusionError, match=r"give the grouping of '.*' as well"):
        fuse(parents, digits, recipe, groupings={nest.block: first.groupings[nest.block]})
    with pytest.raises(FusionError, match="there is no level 99"):
        first.resume(99)
    with pytest.raises(FusionError, match="have to be given"):
        fuse(parents, digits, recipe, resume=first.resume(1))
