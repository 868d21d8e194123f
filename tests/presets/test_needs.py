from __future__ import annotations

import pytest

from fusion_engine.core import registry
from fusion_engine.core.recipe import Recipe
from fusion_engine.presets import needs, recipes


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ({"grouping": "kmeans", "solver": "average"}, "two parents or more, calibration samples"),
        ({}, "two parents or more of equal widths, calibration samples for checking only"),
        ({"grouping": "hungarian"}, "2 parents of equal widths, calibration samples"),
        (
            {"grouping": "kmeans", "post": ["fine_tuning"]},
            "two parents or more, calibration samples with labels",
        ),
        (
            {"solver": "ties"},
            "two parents or more of equal widths, calibration samples for checking only, "
            "the base model they were trained from",
        ),
        (
            {"grouping": "kmeans", "solver": {"method": "average", "head_weights": "class_share"}},
            "two parents or more, calibration samples, the parents' class counts",
        ),
    ],
)
def test_needs_come_from_the_methods(recipe: dict, line: str) -> None:
    assert needs(Recipe.from_mapping(recipe).to_mapping(), registry.catalogue()) == line


def test_exactly_the_presets_with_a_base_say_so() -> None:
    methods = registry.catalogue()
    for preset in recipes().values():
        solver = registry.get("solver", preset.recipe.solver.method)
        said = "base model" in needs(preset.recipe.to_mapping(), methods)
        assert said == ("base" in solver.needs)
