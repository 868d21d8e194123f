"""Recipes as the pages handle them: mappings, their differences, and the command that does the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusion_engine.core.recipe import Recipe

__all__ = [
    "LEVELS", "PARTS", "differences", "method", "needs_base", "normal", "refusal", "settings",
    "takes_levels", "to_yaml", "with_levels",
]

PARTS = ("importance", "grouping", "solver")
LEVELS = "levels"
_WORDS = {"importance": "importance", "post": "step"}
Catalogue = Mapping[str, Sequence[Mapping[str, Any]]]


def method(methods: Catalogue, kind: str, name: str) -> Mapping[str, Any] | None:
    """The catalogue's entry of a method."""
    return next((m for m in methods.get(kind, ()) if m["name"] == name), None)


def normal(recipe: Mapping[str, Any], methods: Catalogue) -> dict[str, Any]:
    """The recipe with every default filled in, so that two recipes can be compared."""
    steps = Recipe.from_mapping(recipe).to_mapping()
    return {
        **steps,
        **{part: _filled(methods, part, steps[part]) for part in PARTS},
        "post": [_filled(methods, "post", step) for step in steps["post"]],
    }


def takes_levels(recipe: Mapping[str, Any], methods: Catalogue) -> bool:
    """Whether the recipe's solver works level by level on levels that may be merged by hand."""
    solver = method(methods, "solver", recipe["solver"]["method"])
    return solver is not None and any(p["name"] == LEVELS for p in solver["parameters"])


def with_levels(recipe: Mapping[str, Any], methods: Catalogue, spec: str) -> dict[str, Any]:
    """The recipe with the levels merged as `spec` says ('0-2,3'), where its solver can use that."""
    if not spec or not takes_levels(recipe, methods):
        return dict(recipe)
    return {**recipe, "solver": {**recipe["solver"], LEVELS: spec}}


def _filled(methods: Catalogue, kind: str, step: Mapping[str, Any]) -> dict[str, Any]:
    known = method(methods, kind, step["method"])
    defaults = {p["name"]: p["default"] for p in known["parameters"]} if known else {}
    return {"method": step["method"], **defaults, **{k: v for k, v in step.items() if k != "method"}}


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


def to_yaml(recipe: Mapping[str, Any]) -> str:
    """The recipe file that `--recipe` reads."""
    return Recipe.from_mapping(recipe).to_yaml()


def needs_base(recipe: Mapping[str, Any], methods: Catalogue) -> bool:
    """Whether the recipe needs the model that the parents were trained from."""
    chosen = [(part, recipe[part]) for part in PARTS] + [("post", step) for step in recipe["post"]]
    found = [method(methods, kind, step["method"]) for kind, step in chosen]
    return any("base" in entry["needs"] for entry in found if entry is not None)


def refusal(
    recipe: Mapping[str, Any], methods: Catalogue, parents: int, labelled: bool, counts: bool, base: bool = False
) -> str:
    """Why this recipe cannot work here, as one line; '' if nothing speaks against it.

    Read from the catalogue alone, for an answer while the recipe is being put together; the job checks again.
    """
    chosen = [(part, recipe[part]) for part in PARTS] + [("post", step) for step in recipe["post"]]
    for kind, step in chosen:
        known = method(methods, kind, step["method"])
        if known is None:
            return f"There is no {kind} called {step['method']}."
        most = known["max_parents"]
        if most is not None and parents > most:
            return f"{known['title']} works with at most {most} parents; you have {parents}."
        if parents < known["min_parents"]:
            return f"{known['title']} needs at least {known['min_parents']} parents; you have {parents}."
        if kind in ("importance", "post") and "labels" in known["needs"] and not labelled:
            return f"{known['title']} needs labels and the calibration data has none; choose another {_WORDS[kind]}."
        follows = known["accepts"] if kind == "post" else None
        if follows is not None and recipe["solver"]["method"] not in follows:
            return f"{known['title']} follows the solvers {', '.join(follows)} only."
    if not base and needs_base(recipe, methods):
        return "It needs the base model that the parents were trained from; choose it as Base model."
    solver = method(methods, "solver", recipe["solver"]["method"])
    accepts = solver["accepts"] if solver else None
    if accepts is not None and recipe["grouping"]["method"] not in accepts:
        return f"{solver['title'] if solver else ''} works with the groupings {', '.join(accepts)} only."
    grouping = method(methods, "grouping", recipe["grouping"]["method"])
    if recipe.get("width", 1.0) != 1.0 and grouping is not None and grouping.get("pairs"):
        return f"{grouping['title']} pairs neurons one to one, which keeps the width; choose another grouping."
    if recipe["solver"].get("head_weights") == "class_share" and not counts:
        return (
            "Head weights class_share need the parents' class counts (a parents.json beside the parents); "
            "choose importance instead."
        )
    return ""
