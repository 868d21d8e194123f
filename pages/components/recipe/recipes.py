"""Recipes as the pages handle them: mappings, their differences, and the command that does the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fusion_engine.core.capability import Facts, Methods, obstacles, used
from fusion_engine.core.recipe import Recipe

__all__ = [
    "LEVELS", "able", "differences", "needs_base", "normal", "refusal", "settings", "shown", "takes_levels",
    "with_levels",
]

LEVELS = "levels"


def normal(recipe: Mapping[str, Any], methods: Methods) -> dict[str, Any]:
    """The recipe with every default filled in, so that two recipes can be compared."""
    mapping = Recipe.from_mapping(recipe).to_mapping()
    for _, step, entry in used(mapping, methods):
        defaults = {p["name"]: p["default"] for p in entry["parameters"]} if entry else {}
        filled = {"method": step["method"], **defaults, **step}
        step.clear()
        step.update(filled)
    return mapping


def takes_levels(recipe: Mapping[str, Any], methods: Methods) -> bool:
    """Whether the recipe's solver works level by level on levels that may be merged by hand."""
    ((_, _, solver),) = used({"solver": recipe["solver"]}, methods)
    return solver is not None and any(p["name"] == LEVELS for p in solver["parameters"])


def with_levels(recipe: Mapping[str, Any], methods: Methods, spec: str) -> dict[str, Any]:
    """The recipe with the levels merged as `spec` says ('0-2,3'), where its solver can use that."""
    if not spec or not takes_levels(recipe, methods):
        return dict(recipe)
    return {**recipe, "solver": {**recipe["solver"], LEVELS: spec}}


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as flat settings: {'grouping.method': 'kmeans', 'grouping.tries': 5, ...}; its name left out."""
    return {path: value for path, value in _walk(recipe, "") if path != "name"}


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{number}")
    else:
        yield path, value


def differences(recipes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """One row a setting in which the recipes differ: {'setting': ..., run: value, ...}."""
    flat = {name: settings(recipe) for name, recipe in recipes.items()}
    rows = []
    for path in dict.fromkeys(p for one in flat.values() for p in one):
        values = [shown(one.get(path)) if path in one else "–" for one in flat.values()]
        if len(set(values)) > 1:
            rows.append({"Setting": path, **dict(zip(flat, values, strict=True))})
    return rows


def shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def needs_base(recipe: Mapping[str, Any], methods: Methods) -> bool:
    """Whether the recipe needs the model that the parents were trained from."""
    entries = [entry for _, _, entry in used(Recipe.from_mapping(recipe).to_mapping(), methods)]
    return any("base" in entry["needs"] for entry in entries if entry is not None)


def refusal(recipe: Mapping[str, Any], methods: Methods, facts: Facts) -> str:
    """Why this recipe cannot work with these parents and data, as one line; '' if nothing speaks against it."""
    mapping = Recipe.from_mapping(recipe).to_mapping()
    return next((obstacle.shown for obstacle in obstacles(mapping, methods, facts)), "")


def able(kind: str, methods: Methods, facts: Facts) -> list[Mapping[str, Any]]:
    """The methods of a kind that can work with these parents and data, whatever the rest of the recipe."""
    return [m for m in methods[kind] if not any(obstacles({kind: {"method": m["name"]}}, methods, facts))]
