"""Dimensions derived from what methods declare, and narrowed by users."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from fusion_engine.core import registry
from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.fusing.output_weights import HeadWeights
from fusion_engine.presets import recipes
from fusion_engine.tuning.space import Dimension, chosen, dimensions, parse_dimension


def mapping(**parts: Any) -> dict[str, Any]:
    return Recipe.from_mapping(parts).to_mapping()


KF = mapping(importance="conductance", grouping="kmeans", solver="least_squares")


def space(recipe: dict[str, Any] = KF, given: Any = None) -> dict[str, Dimension]:
    return {dimension.path: dimension for dimension in chosen(recipe, registry.catalogue(), given)}


def test_types_choices_and_bounds_are_the_methods_own() -> None:
    found = space()
    assert list(found) == [
        "importance.n_steps", "grouping.tries", "solver.ridge", "solver.head_weights",
    ]  # without those for experts, the width, and memory, which changes no result
    tries, ridge, weights = (found[path] for path in ("grouping.tries", "solver.ridge", "solver.head_weights"))
    assert (tries.kind, tries.low, tries.high, tries.log, tries.start) == ("int", 1, 50, False, 3)
    assert (ridge.kind, ridge.log, ridge.start) == ("float", True, "auto")
    assert weights.choices == get_args(HeadWeights)
    assert "solver.memory_mb" not in {d.path for d in dimensions(KF, registry.catalogue())}


def test_steps_after_the_solve_are_told_apart() -> None:
    recipe = mapping(solver="least_squares", post=["repair", "head_distillation"])
    assert "post.1.temperature" in space(recipe)


@pytest.mark.parametrize("name", list(recipes()))
def test_every_suggestion_is_one_that_the_recipe_takes(name: str) -> None:
    recipe = recipes()[name].recipe
    for dimension in dimensions(recipe.to_mapping(), registry.catalogue()):
        ends = dimension.choices or (dimension.rounded(dimension.low), dimension.rounded(dimension.high))
        for end in ends:
            end = int(end) if dimension.kind == "int" else end
            recipe.set({dimension.path: end}).checked()


def test_a_user_narrows_it() -> None:
    given = {"solver.ridge": {"low": 1e-3, "high": 1e-2}, "grouping.tries": {"choices": [1, 5]}, "width": {}}
    found = space(given=given)
    assert (found["solver.ridge"].low, found["solver.ridge"].high, found["solver.ridge"].log) == (1e-3, 1e-2, False)
    assert (found["grouping.tries"].kind, found["grouping.tries"].choices) == ("choice", (1, 5))
    assert found["width"].kind == "float"
    assert space(given={"solver.memory_mb": {"low": 10, "high": 100}})["solver.memory_mb"].kind == "int"


@pytest.mark.parametrize(("given", "line"), [
    ({"solver.rigde": {}}, "did you mean 'solver.ridge'"),
    ({"solver.memory_mb": {}}, "declares no bounds"),
    ({"grouping.tries": {"low": 0, "high": 5}}, "too small"),
    ({"grouping.tries": {"low": 5, "high": 2}}, "lower one first"),
    ({"grouping.tries": {"low": 1.5, "high": 2}}, "not of type int"),
    ({"solver.head_weights": {"low": 0, "high": 1}}, "has choices"),
    ({"solver.head_weights": {"choices": ["uniform", "mine"]}}, "not one of"),
    ({"solver.ridge": {"low": 0, "high": 1, "log": True}}, "begin above 0"),
    ({"solver.ridge": {"step": 1}}, "not 'step'"),
    ({"width": {"low": 0.0, "high": 1.0}}, "not a width"),
    ([], "no parameter to search"),
    ({"solver.ridge": 5}, "not 5"),
    ({"solver.ridge": [1]}, r"not \[1\]"),
    ([["solver.ridge"]], "dimensions are paths"),
    ({"solver.ridge": {"low": 1e-3, "high": float("inf")}}, "not inf"),
    ({"solver.ridge": {"low": float("nan"), "high": 1.0}}, "not nan"),
    ({"solver.memory_mb": {"low": 10, "high": 1e300}}, "not 1e[+]300"),
    ({"solver.ridge": {"low": {}, "high": 1.0}}, "one value"),
])  # fmt: skip
def test_what_cannot_be_searched_is_one_line(given: Any, line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        space(given=given)


def test_dimensions_as_text() -> None:
    assert parse_dimension("solver.ridge=1e-6:1") == ("solver.ridge", {"low": 1e-6, "high": 1.0})
    assert parse_dimension("a.b=true,3,0.5,kmeans++") == ("a.b", {"choices": [True, 3, 0.5, "kmeans++"]})
    assert parse_dimension("grouping.tries") == ("grouping.tries", {})
    for text in ("=1:2", "a.b=", "a.b=1:2:3", "a.b=x:y", "a.b=1:inf", "a.b=nan:1", "a.b=1:1e300", "a.b=1,inf"):
        with pytest.raises(RecipeError):
            parse_dimension(text)
