"""Taking results away: buttons that download a run's weights, recipe and report."""

import streamlit as st

from fusion_engine.jobs import client

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
    with st.container(horizontal=True, gap="small"):
        for name in _FILES:
            download(run, name)
