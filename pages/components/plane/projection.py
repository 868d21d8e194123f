"""Where neurons lie: principal components at once, UMAP as soon as its job is done, and the parameters of both."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..run import progress
from ..shared import state
from ..shared.text import percent, plain

# As fusion_engine.embedding.METRICS, which pages do not import: it loads what computes.
METRICS = ("euclidean", "manhattan", "chebyshev", "cosine", "correlation")


@dataclass(frozen=True)
class Parameters:
    """What UMAP is computed with, in the order in which the address writes it: umap=15,0.1,euclidean,2,0."""

    neighbours: int = 15
    min_dist: float = 0.1
    metric: str = METRICS[0]
    dimensions: int = 2
    seed: int = 0

    def written(self) -> str | None:
        """For the address; None for the defaults."""
        text = f"{self.neighbours},{self.min_dist:g},{self.metric},{self.dimensions},{self.seed}"
        return None if self == Parameters() else text

    def arguments(self) -> dict[str, Any]:
        """What the job `embed` is told: only what is not its default."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value != getattr(Parameters(), name)}


@dataclass(frozen=True)
class Projection:
    """coordinates: (m, 2 or 3). index: (m,) which neurons. axes: their titles. note: a line to show, or ''. content:
    what names these coordinates, for caches."""

    coordinates: np.ndarray
    index: np.ndarray
    axes: tuple[str, ...]
    note: str
    content: str


def parameters() -> Parameters:
    """Those of the address; the defaults where it names none, or none that can be."""
    parts = state.get("umap").split(",")
    try:
        neighbours, min_dist, metric, dimensions, seed = parts
        found = Parameters(int(neighbours), float(min_dist), metric, int(dimensions), int(seed))
    except ValueError:
        return Parameters()
    fits = (
        2 <= found.neighbours <= 200 and 0 <= found.min_dist <= 1 and found.metric in METRICS
        and found.dimensions in (2, 3) and 0 <= found.seed < 2**31
    )
    return found if fits else Parameters()


def choose() -> None:
    """PCA or UMAP, and a form with UMAP's parameters. What is chosen goes to the address."""
    state.put(view=state.choice("view", ("umap", "pca")))
    st.segmented_control(
        "Projection", ["umap", "pca"], format_func={"umap": "UMAP", "pca": "PCA"}.get,
        required=True, label_visibility="collapsed", **state.bound("view", "plane-view", state.get("view")),
        help="UMAP keeps neighbours together; PCA keeps the large distances.",
    )
    now = parameters()
    with st.popover("Layout", icon=":material/tune:", key="expert-layout"), st.form("umap-form", border=False):
        st.number_input(
            "Neighbours", 2, 200, now.neighbours, key="umap-neighbours",
            help="How many neurons each is kept close to. Few show fine structure, many the whole.",
        )
        st.slider(
            "Minimal distance", 0.0, 1.0, now.min_dist, 0.05, key="umap-min_dist",
            help="How close neurons may be drawn.",
        )
        metric = METRICS.index(now.metric)
        st.selectbox("Metric", METRICS, metric, key="umap-metric", help="Which neurons count as close.")
        columns = st.columns(2)
        columns[0].selectbox(
            "Dimensions", (2, 3), (2, 3).index(now.dimensions), format_func="{}D".format, key="umap-dimensions",
            help="Also for PCA.",
        )
        columns[1].number_input("Seed", 0, 2**31 - 1, now.seed, key="umap-seed")
        st.form_submit_button("Draw", type="primary", width="stretch", on_click=_chosen)


def _chosen() -> None:
    values = {field.name: st.session_state[f"umap-{field.name}"] for field in fields(Parameters)}
    values["min_dist"] = round(values["min_dist"], 2)
    state.put(umap=Parameters(**values).written())


def project(run: str, space: Mapping[str, Any], pca: np.ndarray) -> Projection:
    """Where the neurons of a space lie, as the address asks. run: that explored the space. pca: (T, 3) its scores."""
    chosen = parameters()
    shares = [*space["variance"], 0.0, 0.0, 0.0]
    deep = chosen.dimensions
    axes = [f"PC 1 ({percent(shares[0], 0)} of the variance)"]
    axes += [f"PC {i} ({percent(shares[i - 1], 0)})" for i in range(2, deep + 1)]
    principal = Projection(pca[:, :deep], np.arange(len(pca)), tuple(axes), "", f"pca-{deep}")
    if state.get("view") == "pca":
        return principal
    job = progress.remembered("embed", {"run": run, "space": space["name"], **chosen.arguments()})
    if job is None:
        return principal
    status = client.status(job)
    if status["state"] == "done":
        result, found = _read(job)
        titles = tuple(f"UMAP {i}" for i in range(1, deep + 1)) if result["method"] == "umap" else tuple(axes)
        return Projection(found["coordinates"], found["index"], titles, plain(result["note"]), job)
    if status["state"] in client.FINISHED:
        why = plain(status["error"] or "it was cancelled")
        return Projection(principal.coordinates, principal.index, principal.axes, f"No UMAP: {why}", principal.content)
    progress.redraw_when_ended(job)
    note = "Showing PCA until UMAP is ready."
    return Projection(principal.coordinates, principal.index, principal.axes, note, principal.content)


@st.cache_data(max_entries=20, show_spinner=False)
def _read(job: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a finished job has written, which never changes."""
    return dict(store.read_result(job)), dict(store.read_arrays(job, "embed.npz"))
