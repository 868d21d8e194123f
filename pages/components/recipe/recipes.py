"""Recipes as the pages handle them: mappings, their differences, and the command that does the same."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusion_engine import store
from fusion_engine.core.capability import Facts, Methods, obstacles, used
from fusion_engine.core.recipe import Recipe

from ..inputs.base_model import base_file
from ..inputs.pickers import BUILT_IN
from ..shared.page_frame import existing
from ..shared.text import distinct, plain

LEVELS = "levels"
_MISSING = object()


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


def command(arguments: Mapping[str, Any], recipe: Mapping[str, Any], catalogue: Mapping[str, Any]) -> str:
    """The command line for the arguments of a fuse job. A recipe that is no preset becomes --set, or a file if it
    must."""
    samples, test = arguments.get("samples"), data_file(arguments.get("test") or "")
    base = base_file(arguments.get("base") or "")
    lines = ["python -m fusion_engine fuse " + " ".join(map(shlex.quote, parent_files(arguments["parents"])))]
    data = shlex.quote(data_file(arguments["data"]))
    lines.append(f"--calibration {data}" + (f" --samples {samples}" if samples else ""))
    lines += [f"--{option} {shlex.quote(file)}" for option, file in (("test", test), ("base", base)) if file]
    lines.append(_recipe_options(recipe, catalogue["presets"], catalogue["methods"]))
    lines.append(f"--seed {arguments.get('seed', 0)} --out fused.safetensors --report report.json")
    return " \\\n    ".join(lines)


def files_named(arguments: Mapping[str, Any]) -> str:
    """What the files in `command` stand for, as Markdown: the store does not keep the names they were uploaded by."""
    summary = existing(store.read_parents_summary, arguments["parents"])
    parents = summary["parents"] if summary else []
    names = distinct((p["name"] for p in parents), 40)
    named = ", ".join(f"{p['file']} is {name}" for p, name in zip(parents, names, strict=True)
                      if p["file"] != f"{p['name']}.safetensors")
    own = [data for data in (arguments.get("data"), arguments.get("test")) if data and data not in BUILT_IN]
    where = "Put your own files' paths in place of the parents'" + (" and the data's." if own else ".")
    return plain(f"{where} Here {named}." if named else where)


def _recipe_options(recipe: Mapping[str, Any], presets: Sequence[Mapping[str, Any]], methods: Methods) -> str:
    wanted = settings(normal(recipe, methods))
    base = next((p for p in presets if p["name"] == recipe.get("name")), None)
    if base is not None:
        known = settings(normal(base["recipe"], methods))
        changed = {path: value for path, value in wanted.items() if known.get(path, _MISSING) != value}
        if known.keys() == wanted.keys() and not any(path.endswith(".method") for path in changed):
            sets = [f"--set {shlex.quote(f'{path}={shown(value)}')}" for path, value in changed.items()]
            return " ".join([f"--recipe {base['name']}", *sets])
    return "--recipe recipe.yaml"


def parent_files(parents: str) -> list[str]:
    """The parents' file names; what they are called where the set is gone."""
    summary = existing(store.read_parents_summary, parents)
    return [p["file"] for p in summary["parents"]] if summary else ["PARENT..."]


def data_file(identifier: str) -> str:
    """What the command line calls a data set: a built-in name, or a file."""
    if not identifier or identifier in BUILT_IN:
        return identifier
    summary = existing(store.read_data_summary, identifier)
    name = str(summary["name"]) if summary else "data"
    return name if name.endswith(".npz") else f"{name}.npz"
