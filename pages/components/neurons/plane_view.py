"""The plane of one space: neurons as points, coloured by what one wants to know, selected by lasso, box or click."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import streamlit as st

from ..plane import colouring, projection
from ..plane.component import packed_points, plane
from ..plane.measured import Measured, measured
from ..shared import glossary, state
from ..shared.space import SpaceView
from ..shared.text import count, plain
from . import picking, selection

_WAYS = {
    "group": "most important groups", "selected": "groups of the selection", "parent": "parent",
    "importance": "importance", "lost": "variance lost",
}
_SCORE = "score:"


def draw(view: SpaceView) -> Callable[[], None]:
    """What the plane is drawn and selected by, and what is selected; what draws the plane itself, in its place.

    That is for the end: the browser shows a selection there by itself, and takes longest to draw the plane again.
    """
    st.header("Neurons in the plane", anchor=False, help=glossary.meaning("UMAP"))
    known = measured(state.get("parents"), state.get("data"), str(view.space["name"]), tuple(view.sizes))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        projection.choose()
        picking.choose(view)
        ways = _WAYS | {_SCORE + name: f"importance by {name}" for name in known.scores}
        if known.preferred is not None:
            ways |= {"class": "preferred class"}
        way = state.choice("colour", ways)
        st.selectbox(
            "Colour by", list(ways), format_func=lambda name: f"Colour: {ways[name]}", width=290,
            label_visibility="collapsed", **state.bound("colour", "plane-colour", way),
        )
    if trouble := selection.problem(view):
        st.warning(plain(trouble), icon=":material/warning:")
    shown = projection.project(view.run, view.space, view.arrays["pca"])
    points = _packed(view, shown.coordinates, shown.index, shown.axes, (view.run, view.space["index"], shown.content))
    selected, labels = selection.get(view), picking.labels(view)
    chart = st.container(key="plane-place")
    note = f"{shown.note.rstrip('.')}. " if shown.note else ""
    st.caption(
        f"{note}{count(len(selected), 'neuron')} selected. Symbol: the parent. Size: importance. Thin lines join the "
        "members of a group. Click for the passport, Shift and click to add to the selection, double click to clear it."
    )
    _isolation(view)

    def finish() -> None:
        alt = (
            f"{count(len(shown.index), 'neuron')} of space {view.space['name']} in the plane of {shown.axes[0]} and "
            f"{shown.axes[1]}; the table of selected neurons and the list of neurons say the same"
        )
        with chart:
            plane(
                points, shown.index, _coloured(view, way, known), selected=selected.tolist(),
                focus=selection.focus(view), hidden=_hidden(view), labels=labels, key="plane",
                on_done=lambda done: _done(view, done), alt=alt,
            )

    return finish


def _isolation(view: SpaceView) -> None:
    """A button that leaves only the group of the neuron that is looked at in colour, and one that undoes it."""
    neuron, alone = selection.focus(view), selection.isolated(view)
    group = -1 if neuron is None else int(view.arrays["group"][neuron])
    if alone is not None:
        st.button(
            "Show all groups", key="only-group", icon=":material/filter_center_focus:",
            on_click=lambda: selection.isolate(view, None),
        )
    else:
        st.button(
            "Show only its group", key="only-group", icon=":material/filter_center_focus:", disabled=group < 0,
            help="Only the group of the neuron whose passport is shown keeps its colour, under any method",
            on_click=lambda: state.put(group=str(view.neuron_of(neuron)), colour="group"),
        )


def _coloured(view: SpaceView, way: str, known: Measured) -> colouring.Colouring:
    arrays = view.arrays
    if way.startswith(_SCORE):
        name = way.removeprefix(_SCORE)
        return colouring.by_number(f"Importance by {name}", known.scores[name])
    if way == "class" and known.preferred is not None:
        return colouring.by_class("Preferred class", known.preferred)
    if way == "parent":
        return colouring.by_parent(arrays, view.names)
    if way == "importance":
        return colouring.by_number("Importance", arrays["importance"])
    if way == "lost":
        return colouring.by_number("Variance lost (%)", colouring.lost_by_group(arrays))
    if (group := selection.isolated(view)) is not None:
        return colouring.by_group(arrays, [group], "One group")
    if way == "selected":
        groups = np.unique(arrays["group"][selection.get(view)])
        chosen = sorted(groups[groups >= 0].tolist(), key=lambda g: -arrays["group_importance"][g])
        if chosen:
            return colouring.by_group(arrays, chosen, "Groups of the selection")
    return colouring.by_group(arrays)


def _hidden(view: SpaceView) -> list[int]:
    """Parents that are not shown: never all of them."""
    named = {int(part) for part in state.get("hidden").split(",") if part.isdecimal() and len(part) < 4}
    hidden = sorted(number for number in named if number < len(view.names))
    return hidden if len(hidden) < len(view.names) else []


def _done(view: SpaceView, done: Mapping[str, Any]) -> None:
    """What was done in the plane. It comes from a browser: what is no neuron of this space is left out."""
    if done.get("event") == "focus":
        if neurons := _known(view, [done.get("index")]):
            selection.put_focus(view, neurons[0])
    elif done.get("event") == "select":
        selection.put(view, _known(view, done.get("indices")))
    elif done.get("event") == "hide":
        parents = done.get("parents")
        listed = [p for p in parents if isinstance(p, int) and p >= 0] if isinstance(parents, list) else []
        state.put(hidden=",".join(map(str, listed)) or None)


def _known(view: SpaceView, indices: Any) -> list[int]:
    return [i for i in indices if isinstance(i, int) and 0 <= i < view.total] if isinstance(indices, list) else []


@st.cache_data(max_entries=20, show_spinner=False)
def _packed(
    _view: SpaceView, _coordinates: np.ndarray, _index: np.ndarray, axes: tuple[str, ...], content: tuple[Any, ...]
) -> str:
    return packed_points(_coordinates, _index, _view.arrays, _view.names, axes)
