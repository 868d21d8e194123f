"""Selecting neurons by rule, by typing and from a file; naming what is selected, and taking it away."""

from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import read_neurons

from ..plane import projection
from ..shared import state
from ..shared.page_frame import existing
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, percent, plain
from . import exports, selection

_TOP = 10


def most_important(view: SpaceView) -> np.ndarray:
    return np.argsort(-view.arrays["importance"], kind="stable")[:_TOP]


def singletons(view: SpaceView) -> np.ndarray:
    """Neurons that are alone in their group."""
    return _in_groups(view, view.arrays["group_members"].sum(1) == 1)


def single_parent(view: SpaceView) -> np.ndarray:
    """Neurons of groups that hold neurons of one parent only."""
    return _in_groups(view, (view.arrays["group_members"] > 0).sum(1) == 1)


def worst_merged(view: SpaceView) -> np.ndarray:
    """Members of the groups that lose most: the variance lost, by importance."""
    cost = view.arrays["group_error"] * view.arrays["group_importance"]
    worst = np.zeros(len(cost), bool)
    worst[np.argsort(-cost, kind="stable")[:_TOP]] = True
    return _in_groups(view, worst & (cost > 0))


def others(view: SpaceView) -> np.ndarray:
    return np.setdiff1d(np.arange(view.total), selection.get(view))


def mates(view: SpaceView) -> np.ndarray:
    """The selected neurons, or the one that is looked at, with all members of their groups."""
    chosen = selection.get(view)
    focus = selection.focus(view)
    if not len(chosen) and focus is not None:
        chosen = np.array([focus])
    groups = np.unique(view.arrays["group"][chosen])
    return np.union1d(chosen, np.flatnonzero(np.isin(view.arrays["group"], groups[groups >= 0])))


RULES: dict[str, tuple[Callable[[SpaceView], np.ndarray], str]] = {
    "Top 10 by importance": (most_important, "The ten most important neurons of all parents"),
    "Singletons": (singletons, "Neurons that are alone in their group"),
    "Single-parent groups": (single_parent, "Neurons whose group holds neurons of one parent only"),
    "Worst merged": (worst_merged, "Members of the ten groups that lose most variance, weighed by importance"),
    "Whole groups": (mates, "All members of the groups of what is selected"),
    "Invert": (others, "What is not selected"),
    "Clear": (lambda view: np.zeros(0, np.int64), "Nothing"),
}


def choose(view: SpaceView) -> None:
    """A popover: select by typing, by rule, by a label or from a file."""
    with st.popover("Select", icon=":material/select_all:"):
        # What is being typed stays until something else is selected.
        if st.session_state.get("neurons-named") != (named := selection.named(view)):
            st.session_state["neurons-named"] = st.session_state["neurons-text"] = named
        with st.form("neurons-form", border=False):
            st.text_area(
                "Neurons, typed or pasted", key="neurons-text", placeholder=f"{view.names[0]}:3-7, 1:4", height=80
            )
            st.form_submit_button(
                "Select these", width="stretch",
                on_click=lambda: _try("select", lambda: _put_read(view, st.session_state["neurons-text"])),
            )
        _trouble("select")
        columns = st.columns(2)
        for place, (name, (rule, help_text)) in enumerate(RULES.items()):
            columns[place % 2].button(
                name, key=f"rule-{name}", help=help_text, width="stretch",
                on_click=lambda rule=rule: selection.put(view, rule(view)),
            )
        if given := labels(view):
            chosen = st.selectbox("By label", [name for name, _ in given], index=None, key="label-chosen")
            if chosen is not None:
                members = next(m for name, m in given if name == chosen)
                st.button("Select its neurons", on_click=lambda: selection.put(view, members), width="stretch")
        kinds = ["csv", "json", "txt"]
        file = st.file_uploader("From a file: CSV or JSON as exported, or text", kinds, max_upload_size=8)
        if file is not None:
            st.button(
                "Select the file's neurons", width="stretch",
                on_click=lambda: _try("file", lambda: _put_file(view, file.name, file.getvalue())),
            )
        _trouble("file")


def draw(view: SpaceView) -> None:
    """What is selected, as a table, to be named and taken away."""
    chosen = selection.get(view)
    given = labels(view)
    if not len(chosen):
        st.caption(
            "Nothing is selected. Draw around neurons in the plane, or use Select above it: by rule, by typing, "
            "from a file."
        )
    else:
        shares = view.arrays["importance"]
        share = float(shares[chosen].sum() / max(shares.sum(), 1e-300))
        st.markdown(f"**{count(len(chosen), 'neuron')}** with {percent(share)} of the space's importance")
        rows = exports.rows(view, chosen, given)
        key = f"selected-{view.run}-{view.space['index']}-{hash(chosen.tobytes())}"
        table(
            {name.capitalize(): [row[name] for row in rows] for name in exports.SHOWN}, height=300, key=key,
            alt="The selected neurons with group, importance, statistics and labels",
            on_select=lambda: _look(view, key, chosen), selection_mode="single-row",
        )
        shown = projection.project(view.run, view.space, view.arrays["pca"])
        stem = exports.stem(_set_name(), view)
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            st.download_button(
                "Export CSV", lambda: exports.as_csv(view, chosen, given, shown), f"{stem}.csv", "text/csv",
                on_click="ignore", icon=":material/download:",
                help="Label, group, importance, statistics and coordinates of each neuron",
            )
            st.download_button(
                "Export JSON", lambda: exports.as_json(view, chosen, given, shown), f"{stem}.json", "application/json",
                on_click="ignore", icon=":material/data_object:",
            )
            st.text_input("Name for these neurons", key="label-name", placeholder="edge detectors", width=240)
            st.button("Give the name", key="label-give", on_click=lambda: _give(view, chosen))
    _trouble("label")
    _given(view, given)


def labels(view: SpaceView) -> list[tuple[str, np.ndarray]]:
    """The names that were given in this space, each with the neurons that still exist here."""
    parents = state.get("parents")
    given = existing(store.read_labels, parents, str(view.space["name"])) or []
    found = []
    for label in given:
        neurons = [n for n in _read(label["neurons"], view) if n.index < view.sizes[n.parent]]
        if neurons:
            found.append((label["name"], np.array([view.index_of(n) for n in neurons], np.int64)))
    return found


def _read(texts: list[str], view: SpaceView) -> list[Any]:
    return existing(read_neurons, texts, [str(p) for p in range(len(view.names))]) or []


def _given(view: SpaceView, given: list[tuple[str, np.ndarray]]) -> None:
    if not given:
        return
    st.markdown("**Labels in this space**")
    table(
        {"Label": [name for name, _ in given], "Neurons": [len(members) for _, members in given],
         "Members": [", ".join(view.label(i) for i in members[:12]) for _, members in given]},
        alt="Labels that were given to neurons of this space",
    )
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        chosen = st.selectbox("Label to remove", [name for name, _ in given], key="label-remove", width=240)
        st.button("Remove the label", on_click=lambda: _save(view, chosen, []))


def _give(view: SpaceView, chosen: np.ndarray) -> None:
    # What stands in the field now, not what stood there when the button was drawn.
    _save(view, st.session_state["label-name"], [str(view.neuron_of(int(i))) for i in chosen])


def _save(view: SpaceView, name: str, neurons: list[str]) -> None:
    def save() -> None:
        store.save_label(state.get("parents"), str(view.space["name"]), name, neurons)
        st.session_state["label-name"] = ""

    _try("label", save)


def _put_read(view: SpaceView, text: str) -> None:
    selection.put(view, selection.read(view, text))


def _put_file(view: SpaceView, name: str, content: bytes) -> None:
    selection.put(view, exports.read_file(view, name, content))


def _try(what: str, act: Callable[[], None]) -> None:
    """Act in a callback, which cannot draw: what goes wrong is said by `_trouble` at the next drawing."""
    try:
        act()
    except FusionError as error:
        st.session_state[f"trouble-{what}"] = str(error)


def _trouble(what: str) -> None:
    if line := st.session_state.pop(f"trouble-{what}", None):
        st.error(plain(line), icon=":material/error:")


def _look(view: SpaceView, key: str, chosen: np.ndarray) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        selection.put_focus(view, int(chosen[rows[0]]))


def _set_name() -> str:
    summary = existing(store.read_parents_summary, state.get("parents"))
    return str(summary["name"]) if summary else "parents"


def _in_groups(view: SpaceView, groups: np.ndarray) -> np.ndarray:
    """Neurons whose group is one of those marked; none that are in no group."""
    return np.flatnonzero(np.append(groups, False)[view.arrays["group"]])
