"""The verdict on a grouping, said before any chart, with the groups and neurons that it is about one click away."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine.core.neurons import read_neuron

from ..neurons import selection
from ..shared import state
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import percent, plain
from . import group_table

# How the box looks: what it is called in words stands in it, so that colour is not all.
_BOXES = {"poor": st.warning, "fair": st.info, "good": st.success}
_ICONS = {"poor": ":material/thumb_down:", "fair": ":material/thumbs_up_down:", "good": ":material/thumb_up:"}
_WORDS = {"poor": "Grouped poorly", "fair": "Grouped fairly", "good": "Grouped well"}
_JUDGED = (
    "The cost is what groups lose of their variance, weighed by their share of the space's importance. Poor: the cost, "
    "or what the most important group loses, is over 50 %, or fewer than a third of the groups in use mix parents. "
    "Fair: over 20 %, or fewer than two thirds. Soft groups are judged by what is lost alone. More than 100 % are lost "
    "where the fused neuron is further from its neurons than their means, which are constants, would be."
)


def network(result: Mapping[str, Any]) -> None:
    """What is said of the whole network, with a way into its worst spaces."""
    judged = result.get("verdict")
    if judged is None or len(result["spaces"]) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="network-verdict"):
        st.markdown(f"{_ICONS[judged['severity']]} {plain(judged['sentence'])}", width="content")
        severity = {space["name"]: (space.get("verdict") or {}).get("severity") for space in result["spaces"]}
        for name in [name for name in judged["worst"] if severity[name] == judged["severity"]][:3]:
            st.button(
                f"Open {plain(name)}", key=f"open-{name}", type="tertiary", icon=":material/arrow_forward:",
                on_click=state.put, kwargs={"space": name}, disabled=state.get("space") == name,
            )


def draw(view: SpaceView, edited: bool = False) -> None:
    """What is said of one space's grouping. edited: whether it is the grouping after edits."""
    judged = view.space.get("verdict")
    if judged is None:
        st.caption("This run was made by an earlier version, which kept no verdict on its groups.")
        return
    severity = judged["severity"]
    if edited:
        st.caption("Said of the groups after the edits; the map and the line above it, of those that were found.")
    _BOXES[severity](f"**{_WORDS[severity]}:** {plain(judged['sentence'])}", icon=_ICONS[severity])
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="space-verdict"):
        first, costliest = judged["first"], judged["worst_groups"][:1]
        for entry in costliest:
            _group_button(view, entry, "Costliest and most important group" if entry == first else "Costliest group")
        if first is not None and first not in costliest:
            _group_button(view, first, "Most important group")
        if judged["worst_neurons"]:
            worst = [_index(view, entry) for entry in judged["worst_neurons"]]
            st.button(
                f"Worst served: {plain(view.label(worst[0]))}", key="verdict-neuron", icon=":material/target:",
                help="Look at the neuron whose importance times the share of its own variance lost is largest.",
                on_click=selection.put_focus, args=(view, worst[0]),
            )
        with st.popover("Why", icon=":material/info:"):
            _why(view, judged)


def _group_button(view: SpaceView, entry: Mapping[str, Any], what: str) -> None:
    st.button(
        f"{what}: {entry['group']}", key=f"verdict-{what}", icon=":material/workspaces:",
        help=f"{percent(entry['share'])} of the importance; merging loses {percent(entry['lost'])} of its variance. "
        "Selects its neurons and shows it alone.",
        on_click=group_table.choose, args=(view, [entry["group"]]),
    )


def _why(view: SpaceView, judged: Mapping[str, Any]) -> None:
    st.caption(_JUDGED)
    sorts = {
        "In all": judged["groups"], "Mix parents": judged["mixed"], "Several of one parent": judged["several"],
        "Of one parent only": judged["one_parent"], "One neuron": judged["single"], "Empty": judged["empty"],
    }
    table({"Sort": list(sorts), "Groups": list(sorts.values())}, alt="How many groups are of each sort")
    groups, neurons = judged["worst_groups"], judged["worst_neurons"]
    st.markdown("**Groups that lose most**")
    _worst(
        "verdict-groups", {"Group": [g["group"] for g in groups]}, groups, "The groups that lose most, by importance",
        lambda row: group_table.choose(view, [groups[row]["group"]]),
    )
    st.markdown("**Important neurons that are served worst**")
    places = [_index(view, entry) for entry in neurons]
    _worst(
        "verdict-neurons", {"Neuron": [view.label(i) for i in places], "Group": view.arrays["group"][places]}, neurons,
        "The neurons that lose most, by importance", lambda row: selection.put_focus(view, places[row]),
    )
    st.caption("Choose a row to see the group alone, or to look at the neuron.")


def _worst(
    key: str, columns: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], alt: str, choose: Callable[[int], None]
) -> None:
    def chosen() -> None:
        if rows := st.session_state[key]["selection"]["rows"]:
            choose(rows[0])

    table(
        {
            **columns, "Importance": [percent(e["share"]) for e in entries],
            "Variance lost": [percent(e["lost"]) for e in entries],
        },
        alt=alt, key=key, on_select=chosen, selection_mode="single-row",
    )


def _index(view: SpaceView, entry: Mapping[str, Any]) -> int:
    return view.index_of(read_neuron(entry["neuron"], [str(p) for p in range(len(view.names))]))
