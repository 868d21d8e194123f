"""Reading presets.yaml, strictly: a typing error in it must not become a recipe nobody meant."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.core.registry import nearest

_TEXTS = ("title", "citation", "summary")


@dataclass(frozen=True)
class Preset:
    """A recipe with a name people know. summary: what it does and when to use it. citation: '' if there is none."""

    name: str
    title: str
    citation: str
    summary: str
    recipe: Recipe

    def as_json(self) -> dict[str, Any]:
        """JSON-able form, for the catalogue."""
        return {"name": self.name, **{k: getattr(self, k) for k in _TEXTS}, "recipe": self.recipe.to_mapping()}


def recipes() -> dict[str, Preset]:
    """All presets by name, in the file's order."""
    return dict(_shipped())


@cache
def _shipped() -> dict[str, Preset]:
    text = resources.files(__package__).joinpath("presets.yaml").read_text(encoding="utf-8")
    return read_presets(text)


def get_preset(name: str) -> Preset:
    """The preset `name`; RecipeError with the nearest name otherwise."""
    known = _shipped()
    if name not in known:
        raise RecipeError(f"there is no recipe {name!r}{nearest(name, known)}")
    return known[name]


def read_presets(text: str) -> dict[str, Preset]:
    """Presets from YAML text: a list of {name, title, citation, summary, recipe}. RecipeError on anything else."""
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"presets: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(entries, list):
        raise RecipeError("presets: the file must be a list of presets")
    presets: dict[str, Preset] = {}
    for number, entry in enumerate(entries, 1):
        preset = _read_preset(entry, f"preset {number}")
        if preset.name in presets:
            raise RecipeError(f"presets: the name {preset.name!r} is given twice")
        presets[preset.name] = preset
    return presets


def _read_preset(entry: Any, where: str) -> Preset:
    keys = ("name", *_TEXTS, "recipe")
    if not isinstance(entry, Mapping) or set(entry) != set(keys):
        raise RecipeError(f"{where}: give exactly the keys {', '.join(keys)}")
    for key in ("name", *_TEXTS):
        if not isinstance(entry[key], str) or (key != "citation" and not entry[key].strip()):
            raise RecipeError(f"{where}: {key} must be text")
    if not entry["name"].replace("_", "").isalnum():
        raise RecipeError(f"{where}: the name {entry['name']!r} may have letters, digits and underscores only")
    if not isinstance(entry["recipe"], Mapping) or "name" in entry["recipe"]:
        raise RecipeError(f"{where}: recipe must be a mapping without a name of its own")
    recipe = Recipe.from_mapping({"name": entry["name"], **entry["recipe"]})
    return Preset(recipe=recipe, **{key: " ".join(entry[key].split()) for key in ("name", *_TEXTS)})
