"""The contents of one space: neurons in the plane, a neuron's passport, and sections below."""

from collections.abc import Callable, Mapping

import streamlit as st

from ..passport import passport
from ..shared import glossary, state
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.theme import show
from . import near, neuron_charts, picking, plane_view, selection

Sections = Mapping[str, Callable[[SpaceView], None]]


def draw(view: SpaceView, more: Sections | None = None) -> None:
    """Everything about a space; `more`: further sections."""
    sections = {**SECTIONS, **(more or {})}
    plane, about = st.columns([5, 3], gap="large")
    below = st.container()
    with plane:
        draw_plane = plane_view.draw(view)
    with about:
        neuron = _choose_neuron(view)
        passport.head(view, neuron)
        rest = st.container()
    # Only the open section is drawn: the others would make every click wait for their charts.
    section = state.choice("section", sections)
    tabs = st.tabs(list(sections), **state.bound("section", "space-section", section))
    for tab, draw_section in zip(tabs, sections.values(), strict=True):
        if tab.open:
            with tab:
                draw_section(view)
    with rest:
        passport.draw(view, neuron, lambda other: selection.put_focus(view, other), below)
        near.draw(view)
    draw_plane()


def _choose_neuron(view: SpaceView) -> int | None:
    """The neuron that is looked at, which can be chosen here too."""
    st.header("Passport", anchor=False, help=glossary.meaning("passport"))
    neuron = selection.focus(view)
    st.session_state["neuron-choice"] = neuron
    st.selectbox(
        "Neuron", range(view.total), format_func=view.label, placeholder="Click a neuron, or choose one",
        label_visibility="collapsed", key="neuron-choice",
        on_change=lambda: selection.put_focus(view, st.session_state["neuron-choice"]),
    )
    return neuron


def _importance(view: SpaceView) -> None:
    curves, bars, listed = st.tabs(["All, sorted", "Most important", "Table"])
    key = f"{view.run}-{view.space['index']}"
    with curves:
        chart = neuron_charts.importance_curves(view.arrays, view.names, selection.focus(view))
        show(chart, "Importance of each parent's neurons in falling order", f"curves-{key}")
    with bars:
        chart = neuron_charts.importance_bars(view.arrays, view.names)
        show(chart, "The most important neurons of all parents", f"bars-{key}")
    with listed:
        columns = {name.title(): view.arrays[name] for name in ("neuron", "importance", "group", "mean", "std")}
        parents = [view.names[p] for p in view.arrays["parent"]]
        table({"Parent": parents, **columns}, height=300, alt="All neurons with importance, group and statistics")


SECTIONS: Sections = {
    "Selection": picking.draw, "Importance": _importance,
}
