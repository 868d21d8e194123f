from __future__ import annotations

import dataclasses

import pytest

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.presets import get_preset, read_presets, recipes

GOOD = """
- name: mine
  title: Mine
  citation: ""
  summary: What it does,
    and when.
  recipe: {grouping: kmeans}
"""


def test_a_preset() -> None:
    preset = read_presets(GOOD)["mine"]
    assert preset.recipe == Recipe.from_mapping({"name": "mine", "grouping": "kmeans"})
    assert preset.summary == "What it does, and when."
    assert preset.as_json()["recipe"]["grouping"] == {"method": "kmeans"}


@pytest.mark.parametrize("name", list(recipes()))
def test_shipped_recipes_are_made_of_registered_methods(name: str) -> None:
    filled = get_preset(name).recipe.checked(2, ["labels", "class_counts", "base"])
    assert filled.name == name
    assert Recipe.from_yaml(filled.to_yaml()) == filled


def test_recipes_cannot_be_changed_by_a_caller() -> None:
    recipes().clear()
    assert "kf_linear" in recipes()
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_preset("average").name = "x"  # type: ignore[misc]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'average'"):
        get_preset("averge")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: Mine", "titel: Mine", "exactly the keys"),
        ("title: Mine", "title: 3", "title must be text"),
        ("name: mine", "name: my recipe", "letters, digits"),
        ("{grouping: kmeans}", "{groping: kmeans}", "did you mean 'grouping'"),
        ("{grouping: kmeans}", "{name: other}", "without a name"),
        ("{grouping: kmeans}", "kmeans", "must be a mapping"),
        ("- name: mine", "- name: [mine", "not valid YAML"),
        (GOOD, "name: mine", "must be a list"),
        (GOOD, GOOD + GOOD, "given twice"),
    ],
)
def test_errors_say_where_they_are(old: str, new: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read_presets(GOOD.replace(old, new))
