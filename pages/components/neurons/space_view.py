"""The contents of one space: neurons in the plane, a neuron's passport, importance, and the table of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..passport import passport
from ..run import progress
from ..shared import state
from ..shared.tables import table
from ..shared.text import percent, plain
from ..shared.theme import clicked, show
from . import neuron_charts


@dataclass(frozen=True)
class SpaceView:
    """One space of an explore or fuse run. arrays: its part of explore.npz. names: the parents'."""

    run: str
    space: Mapping[str, Any]
    names: Sequence[str]
    arrays: Mapping[str, np.ndarray]

    def label(self, neuron: int) -> str:
        """'parent_0 · neuron 17' of an index into the arrays."""
        return f"{self.names[self.arrays['parent'][neuron]]} · neuron {self.arrays['neuron'][neuron]}"

    @property
    def total(self) -> int:
        return len(self.arrays["parent"])


@st.cache_data(max_entries=40, show_spinner=False)
def load(run: str, index: int) -> dict[str, Any]:
    """The arrays of space number `index` of a run. Results never change, so they may be kept."""
    return dict(store.read_arrays(run, "explore.npz", f"{index}/"))


@st.fragment
def draw(view: SpaceView) -> None:
    """Everything about a space. A fragment: a click on a neuron redraws no more than this."""
    neuron = state.number("neuron", -1)
    neuron = neuron if 0 <= neuron < view.total else -1
    group = state.number("group", -1)
    group = group if 0 <= group < len(view.arrays["group_importance"]) else -1
    plane, about = st.columns([5, 3], gap="large")
    with plane:
        _plane(view, neuron, group)
    below = st.container()
    with about:
        _passport(view, neuron, below)
    importance, groups = st.columns(2, gap="large")
    with importance:
        _importance(view, neuron)
    with groups:
        _groups(view)


def _plane(view: SpaceView, neuron: int, group: int) -> None:
    head, choice = st.columns([3, 2], vertical_alignment="center")
    head.subheader("Neurons in the plane", anchor=False)
    state.put(view=state.choice("view", ("umap", "pca")))
    with choice.container(horizontal=True, horizontal_alignment="right"):
        st.segmented_control(
            "Projection", ["umap", "pca"], format_func={"umap": "UMAP", "pca": "PCA"}.get,
            required=True, label_visibility="collapsed", **state.bound("view", "plane-view", state.get("view")),
            help="UMAP keeps neighbours together; PCA keeps the large distances.",
        )
    points, index, axes, note = _coordinates(view)
    chart = neuron_charts.neuron_plane(
        points, index, view.arrays, view.names, axes, None if neuron < 0 else neuron, None if group < 0 else group
    )
    key = f"plane-{view.run}-{view.space['index']}-{axes[0]}"
    show(
        chart, f"{len(index)} neurons of space {view.space['name']}: colour tells the group, symbol the parent", key,
        on_select=lambda: _clicked(key), selection_mode="points",
    )
    st.caption(
        f"{note}Colour: the most important groups. Symbol: the parent. Size: importance. Thin lines join the members "
        "of a group. Click a neuron for its passport."
    )


def _coordinates(view: SpaceView) -> tuple[np.ndarray, np.ndarray, tuple[str, str], str]:
    """Points, their neurons, the axes' names and a note: PCA at once, UMAP as soon as its job is done."""
    shares = [*view.space["variance"], 0.0, 0.0]
    pca = (
        view.arrays["pca"][:, :2], np.arange(view.total),
        (f"PC 1 ({percent(shares[0], 0)} of the variance)", f"PC 2 ({percent(shares[1], 0)})"),
    )
    if state.get("view") == "pca":
        return *pca, ""
    run = progress.remembered("embed", {"run": view.run, "space": view.space["name"]})
    status = client.status(run)["state"] if run else "failed"
    if status == "done" and run:
        result, found = store.read_result(run), store.read_arrays(run, "embed.npz")
        note = f"{plain(result['note'])} " if result["note"] else ""
        axes = ("UMAP 1", "UMAP 2") if result["method"] == "umap" else pca[2]
        return found["coordinates"], found["index"], axes, note
    if status not in client.FINISHED and run:
        _await(run)
        return *pca, "Showing PCA until UMAP is ready. "
    return *pca, "UMAP did not succeed; this is PCA. "


@st.fragment(run_every=0.5)
def _await(run: str) -> None:
    if client.status(run)["state"] in client.FINISHED:
        st.rerun()


def _clicked(key: str) -> None:
    if (neuron := clicked(key)) is not None:
        state.put(neuron=neuron)


def _passport(view: SpaceView, neuron: int, below: Any) -> None:
    st.subheader("Passport", anchor=False)
    st.selectbox(
        "Neuron", range(view.total), format_func=view.label, placeholder="Click a neuron, or choose one",
        label_visibility="collapsed", **state.bound("neuron", "neuron-choice", neuron if neuron >= 0 else None),
    )
    passport.draw(view, neuron, lambda other: state.put(neuron=other), below)
    if neuron < 0:
        return
    arrays = view.arrays
    group = int(arrays["group"][neuron])
    if group >= 0:
        on = state.number("group", -1) == group
        st.button(
            "Show all groups" if on else "Show only its group", key="only-group", icon=":material/filter_center_focus:",
            on_click=lambda: state.put(group=None if on else group),
        )
    st.markdown("**Most similar neurons**")
    near = [int(i) for i in arrays["neighbours"][neuron] if i >= 0]
    table(
        {"Neuron": [view.label(i) for i in near], "Correlation": arrays["correlation"][neuron][: len(near)].round(3),
         "Group": arrays["group"][near]},
        alt="The five most correlated neurons",
    )


def _importance(view: SpaceView, neuron: int) -> None:
    st.subheader("Importance by parent", anchor=False)
    curves, bars, listed = st.tabs(["All, sorted", "Most important", "Table"])
    key = f"{view.run}-{view.space['index']}"
    with curves:
        chart = neuron_charts.importance_curves(view.arrays, view.names, None if neuron < 0 else neuron)
        show(chart, "Importance of each parent's neurons in falling order", f"curves-{key}")
    with bars:
        chart = neuron_charts.importance_bars(view.arrays, view.names)
        show(chart, "The most important neurons of all parents", f"bars-{key}")
    with listed:
        columns = {name.title(): view.arrays[name] for name in ("neuron", "importance", "group", "mean", "std")}
        parents = [view.names[p] for p in view.arrays["parent"]]
        table({"Parent": parents, **columns}, height=300, alt="All neurons with importance, group and statistics")


def _groups(view: SpaceView) -> None:
    st.subheader("Groups", anchor=False)
    arrays = view.arrays
    order = np.argsort(-arrays["group_importance"], kind="stable")
    members = arrays["group_members"][order]
    rows = {
        "Group": order, **{name: members[:, p] for p, name in enumerate(view.names)},
        "Importance": arrays["group_importance"][order], "Lost": 100 * arrays["group_error"][order],
    }
    largest = float(arrays["group_importance"].max(initial=0.0)) or 1.0
    event = table(
        rows, height=352, on_select="rerun", selection_mode="single-row",
        key=f"groups-{view.run}-{view.space['index']}", alt="Groups with members of each parent, importance and loss",
        column_config={
            "Importance": st.column_config.ProgressColumn(
                help="Sum over its members", min_value=0.0, max_value=largest, format="%.3g"
            ),
            "Lost": st.column_config.NumberColumn(
                "Variance lost", format="%.1f %%",
                help="How much of its members' variance merging them loses: the spread of the group",
            ),
        },
    )
    chosen = [int(order[row]) for row in event["selection"]["rows"]]
    remembered = st.session_state.get("group-row")
    if chosen != remembered:
        st.session_state["group-row"] = chosen
        if remembered is not None or chosen:
            state.put(group=chosen[0] if chosen else None)
            st.rerun(scope="fragment")
    st.caption("Columns with a parent's name count its members. Choose a row to see the group alone in the plane.")
