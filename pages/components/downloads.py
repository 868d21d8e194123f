"""Taking results away: weights, recipe, report, and the command that makes them again."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.jobs import client

from . import recipes
from .base import base_file
from .pickers import BUILT_IN

__all__ = ["download", "download_row", "run_command"]

_FILES = {
    "fused.safetensors": ("Weights", "application/octet-stream", ":material/download:"),
    "recipe.yaml": ("Recipe", "application/yaml", ":material/description:"),
    "report.json": ("Report", "application/json", ":material/data_object:"),
}


def download(run: str, name: str, label: str | None = None, primary: bool = False) -> None:
    """A button that downloads one of a run's files; the file is read only when it is clicked."""
    title, mime, icon = _FILES[name]
    path = client.result_path(run, name)
    st.download_button(
        label or title, data=path.read_bytes, file_name=name, mime=mime, icon=icon, on_click="ignore",
        key=f"download-{run}-{name}", type="primary" if primary else "secondary",
    )


def download_row(run: str) -> None:
    """All files of a run in a row."""
    with st.container(horizontal=True, gap="small"):
        for name in _FILES:
            download(run, name)


def run_command(job: dict[str, Any], recipe: dict[str, Any], catalogue: dict[str, Any]) -> str:
    """The command that repeats a fuse run."""
    arguments = job["arguments"]
    return recipes.command(
        recipe, catalogue["presets"], catalogue["methods"], parent_files(arguments["parents"]),
        data_argument(arguments["data"]), data_argument(arguments.get("test") or ""),
        arguments.get("samples"), arguments.get("seed", 0), base_file(arguments.get("base") or ""),
    )


def parent_files(parents: str) -> list[str]:
    """The parents' file names; what they are called where the set is gone."""
    try:
        return [p["file"] for p in store.read_parents_summary(parents)["parents"]]
    except FusionError:
        return ["PARENT..."]


def data_argument(identifier: str) -> str:
    """What the command line calls a data set: a built-in name, or a file."""
    if not identifier or identifier in BUILT_IN:
        return identifier
    try:
        name = str(store.read_data_summary(identifier)["name"])
    except FusionError:
        return "data.npz"
    return name if name.endswith(".npz") else f"{name}.npz"
