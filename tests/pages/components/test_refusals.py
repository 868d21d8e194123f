"""The pages refuse exactly the recipes that the engine refuses: all methods, widths, numbers of parents and inputs."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from fusion_engine import store
from fusion_engine.architectures import MLPConfig, build
from fusion_engine.core import registry
from fusion_engine.core.capability import Facts, obstacles
from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import Dataset
from fusion_engine.parents import Metadata, Parent, make_parent
from fusion_engine.pipeline import checked_recipe
from pages.components.inputs import facts as facts_module
from pages.components.recipe.recipes import refusal

METHODS = registry.catalogue()
X = torch.rand(6, 5)


def parents(number: int, wider: int = 0, counted: bool = True) -> list[Parent]:
    """Untrained networks, the last one `wider`; the first one's class counts are unknown unless `counted`."""
    made = []
    for p in range(number):
        config = MLPConfig((5, 4 + wider * (p == number - 1), 3))
        counts = [1, 2, 3] if counted or p else None
        made.append(make_parent(f"p{p}", config, build(config).state_dict(), Metadata(class_counts=counts)))
    return made


def summary_of(among: list[Parent]) -> dict[str, Any]:
    """What the store tells of them, as far as it matters here."""
    return {"id": "a" * 32, "parents": [
        {"class_counts": p.metadata.class_counts,
         "layers": [{"name": name, "shape": list(tensor.shape)} for name, tensor in p.state.items()]} for p in among
    ]}


def page(summary: dict[str, Any], labelled: bool, base: bool, monkeypatch: pytest.MonkeyPatch) -> Facts:
    """What the pages know of these parents and this data."""
    monkeypatch.setattr(facts_module.state, "get", lambda key: "data")
    monkeypatch.setattr(facts_module, "base_model", lambda summary: "a.0" if base else "")
    monkeypatch.setattr(store, "read_data_summary", lambda identifier: {"labelled": labelled})
    return facts_module.facts(summary)


def agree(recipe: dict[str, Any], among: list[Parent], labelled: bool, base: bool, facts: Facts) -> bool:
    """Whether both take the recipe; an assertion fails if they differ, or give another reason."""
    data = Dataset(X, torch.arange(6) % 3 if labelled else None, classes=3)
    told = refusal(recipe, METHODS, facts)
    reason = ""
    try:
        checked_recipe(among, data, recipe, among[0] if base else None)
    except RecipeError as error:
        reason = str(error)
    assert bool(told) == bool(reason), f"{recipe}: the pages say {told!r}, the engine {reason!r}"
    mapping = Recipe.from_mapping(recipe).to_mapping()
    assert next((obstacle.message for obstacle in obstacles(mapping, METHODS, facts)), "") == reason
    return not reason


@pytest.mark.parametrize(("number", "wider"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2)])
def test_groupings_and_solvers(number: int, wider: int, monkeypatch: pytest.MonkeyPatch) -> None:
    among = parents(number, wider)
    summary = summary_of(among)
    taken = []
    for labelled, base in product((True, False), repeat=2):
        facts = page(summary, labelled, base, monkeypatch)
        for grouping, solver, width in product(METHODS["grouping"], METHODS["solver"], (0.5, 1.0, 2.0)):
            recipe = {"grouping": grouping["name"], "solver": solver["name"], "width": width}
            taken.append(agree(recipe, among, labelled, base, facts))
    assert 0.1 < np.mean(taken) < 0.95


@pytest.mark.parametrize("counted", [True, False])
def test_importances_and_steps(counted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    among = parents(2, counted=counted)
    summary = summary_of(among)
    posts: list[Any] = [[], *([step["name"]] for step in METHODS["post"])]
    for step in METHODS["post"]:
        if any(parameter["name"] == "head_weights" for parameter in step["parameters"]):
            posts.append([{"method": step["name"], "head_weights": "class_share"}])
    for labelled, importance, solver, post in product(
        (True, False), METHODS["importance"], METHODS["solver"], posts
    ):
        recipe = {"importance": importance["name"], "grouping": "identity", "solver": solver["name"], "post": post}
        agree(recipe, among, labelled, True, page(summary, labelled, True, monkeypatch))


@pytest.mark.parametrize(
    "part", [m["name"] for m in METHODS["grouping"] if any(p["name"] == "reference" for p in m["parameters"])]
)
def test_a_reference_that_is_not_there(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    among = parents(2)
    facts = page(summary_of(among), True, False, monkeypatch)
    assert agree({"grouping": {"method": part, "reference": 2}}, among, True, False, facts)
    assert not agree({"grouping": {"method": part, "reference": 3}}, among, True, False, facts)


def test_shares_by_class_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"solver": {"method": "average", "head_weights": "class_share"}}
    for counted in (True, False):
        among = parents(2, counted=counted)
        assert agree(shares, among, True, False, page(summary_of(among), True, False, monkeypatch)) == counted


def test_steps_that_share_by_class_counts_ask_for_them_before_anything_is_computed() -> None:
    recipe = Recipe(post=[{"method": "head_distillation", "head_weights": "class_share"}])
    recipe.checked(2, ["class_counts"])
    with pytest.raises(RecipeError, match="use head_weights 'importance'"):
        recipe.checked(2)
