"""Taking results away: buttons that download a run's weights, recipe and report, under names that say what they are."""

import re
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.sharing.html_report import run_report

from ..shared.page_frame import existing

_FILES = {
    "fused.safetensors": ("Weights", "application/octet-stream", ":material/download:"),
    "recipe.yaml": ("Recipe", "application/yaml", ":material/description:"),
    "report.json": ("Report (JSON)", "application/json", ":material/data_object:"),
}


def file_name(run: str, ending: str) -> str:
    """What a run's file is called on the reader's disk: parents, recipe, seed and the end of the run's id, such as
    'digits-mlp_kf_linear_seed0_3f2a.safetensors'. ending: 'safetensors', 'report.json', ..."""
    job: Any = existing(store.read_job, run) or {"kind": "run", "arguments": {}}
    arguments = job["arguments"]
    summary = existing(store.read_parents_summary, arguments.get("parents"))
    recipe = arguments.get("recipe", job["kind"])
    name = recipe if isinstance(recipe, str) else f"{recipe.get('name', 'custom')}-changed"
    parts = [summary["name"] if summary else "", name, f"seed{arguments.get('seed') or 0}", run[-4:]]
    return "_".join(filter(None, map(_slug, parts))) + f".{ending}"


def _slug(text: object) -> str:
    """Letters, digits, dashes and underscores only, for any file system; 40 at most."""
    return re.sub(r"[^\w]+", "-", str(text), flags=re.ASCII).strip("-")[:40]


def download(run: str, name: str, label: str | None = None, primary: bool = False) -> None:
    """A button that downloads one of a run's files; the file is read only when it is clicked."""
    title, mime, icon = _FILES[name]
    path = client.result_path(run, name)
    ending = name.removeprefix("fused.")
    st.download_button(
        label or title, data=path.read_bytes, file_name=file_name(run, ending), mime=mime, icon=icon,
        on_click="ignore", key=f"download-{run}-{name}", type="primary" if primary else "secondary",
    )


def download_row(run: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for name in _FILES:
            download(run, name)
        st.download_button(
            "Report (HTML)", data=lambda: run_report(run), file_name=file_name(run, "html"), mime="text/html",
            icon=":material/summarize:", on_click="ignore", key=f"download-{run}-html",
            help="Live charts in one file, which opens offline.",
        )
