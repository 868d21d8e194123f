"""The command line that does what the pages do: for the recipe being put together, and for a run that was."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_engine import store
from fusion_engine.core.capability import Methods

from ..inputs.base_model import base_file
from ..inputs.pickers import BUILT_IN
from ..shared.page_frame import existing
from .recipes import normal, settings, shown

__all__ = ["command"]

_MISSING = object()


def command(arguments: Mapping[str, Any], recipe: Mapping[str, Any], catalogue: Mapping[str, Any]) -> str:
    """The command line for the arguments of a fuse job. A recipe that is no preset becomes --set, or a file if it
    must."""
    samples, test = arguments.get("samples"), _data_file(arguments.get("test") or "")
    base = base_file(arguments.get("base") or "")
    lines = ["python -m fusion_engine fuse " + " ".join(map(shlex.quote, _parent_files(arguments["parents"])))]
    data = shlex.quote(_data_file(arguments["data"]))
    lines.append(f"--calibration {data}" + (f" --samples {samples}" if samples else ""))
    lines += [f"--{option} {shlex.quote(file)}" for option, file in (("test", test), ("base", base)) if file]
    lines.append(_recipe_options(recipe, catalogue["presets"], catalogue["methods"]))
    lines.append(f"--seed {arguments.get('seed', 0)} --out fused.safetensors --report report.json")
    return " \\\n    ".join(lines)


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


def _parent_files(parents: str) -> list[str]:
    """The parents' file names; what they are called where the set is gone."""
    summary = existing(store.read_parents_summary, parents)
    return [p["file"] for p in summary["parents"]] if summary else ["PARENT..."]


def _data_file(identifier: str) -> str:
    """What the command line calls a data set: a built-in name, or a file."""
    if not identifier or identifier in BUILT_IN:
        return identifier
    summary = existing(store.read_data_summary, identifier)
    name = str(summary["name"]) if summary else "data"
    return name if name.endswith(".npz") else f"{name}.npz"
