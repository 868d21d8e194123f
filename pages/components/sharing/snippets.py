"""The Python that repeats a fusion, from what the store knows of it."""

from collections.abc import Mapping
from typing import Any

from fusion_engine import store
from fusion_engine.sharing.snippet import snippet

from ..inputs.base_model import base_file
from ..recipe.recipes import data_file, parent_files


def fusion_snippet(arguments: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """For the arguments of a fuse job."""
    files = parent_files(arguments["parents"])
    test = data_file(arguments.get("test") or "") or None
    base = base_file(arguments.get("base") or "") or None
    return snippet(arguments, recipe, files, data_file(arguments["data"]), test, base)


def run_snippet(run: str) -> str:
    """For a finished fusion."""
    return fusion_snippet(store.read_job(run)["arguments"], store.read_report(run)["recipe"])
