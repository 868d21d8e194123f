"""Change the groups of a space by hand, see at once what that costs, and fuse again from there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
import yaml

from fusion_engine.core.errors import FusionError
from fusion_engine.exploration.edit_preview import Preview, second_best

from ..neurons import selection
from ..shared.page_frame import told
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, percent, plain
from . import edit_list

_VERBS = {"merge": "merge the groups of", "split": "split off", "exclude": "leave out"}
_TROUBLE = "edit-trouble"
_HELP = {
    "merge": "Their groups become one; the slots of the others are free for a split",
    "split": "They leave their groups and form one of their own, in a free slot",
    "pin": "Their groups' fused neurons follow them alone; the other members are read from that all the same",
    "exclude": "They leave their groups and shape nothing",
}


def draw(view: SpaceView) -> None:
    """The edits' tools, their list and their cost. view: the space as it is shown, with the edits so far applied."""
    if not view.space["hard"]:
        st.caption("The groups of this method are soft: each fused neuron mixes many. Only groups can be edited.")
        return
    chosen, focus = selection.get(view), selection.focus(view)
    acting = chosen if len(chosen) else np.array([] if focus is None else [focus], np.int64)
    if line := st.session_state.pop(_TROUBLE, None):
        st.error(plain(line), icon=":material/error:")
    left, right = st.columns(2, gap="large")
    with left:
        _tools(view, acting, focus)
    with right:
        _cost(view)
    _listed(view)


def _tools(view: SpaceView, acting: np.ndarray, focus: int | None) -> None:
    if not len(acting):
        st.caption("Click a neuron, or select some with the lasso: then they can be moved, merged, split, pinned or "
                   "left out.")
        return
    st.markdown(f"**With {plain(_some([view.label(int(i)) for i in acting], 4))}**")
    neurons = [str(view.neuron_of(int(i))) for i in acting]
    _move(view, acting, neurons, focus)
    grouped = view.arrays["group"][acting]
    with st.container(horizontal=True, gap="small"):
        for kind, label, icon, able in (
            ("merge", "Merge their groups", ":material/merge:", len(np.unique(grouped[grouped >= 0])) > 1),
            ("split", "Split off", ":material/call_split:", True),
            ("pin", "Pin", ":material/push_pin:", bool((grouped >= 0).all())),
            ("exclude", "Leave out", ":material/block:", bool((grouped >= 0).any())),
        ):
            st.button(label, key=f"edit-{kind}", icon=icon, disabled=not able, help=_HELP[kind],
                      on_click=_do, args=(view, {"edit": kind, "neurons": neurons}))


def _move(view: SpaceView, acting: np.ndarray, neurons: list[str], focus: int | None) -> None:
    """Join the group of a neuron: proposed are the one that is looked at and the second-best group of a lone neuron."""
    better = _second_best(view, int(acting[0])) if len(acting) == 1 else None
    inside = set(view.arrays["group"][acting].tolist())
    if focus is not None and focus not in acting:
        proposed: int | None = focus
    else:
        proposed = None if better is None else better[0]
    grouped = np.flatnonzero(view.arrays["group"] >= 0)
    places = {int(i): place for place, i in enumerate(grouped)}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        target = st.selectbox(
            "Move to the group of", grouped.tolist(), index=None if proposed is None else places.get(proposed),
            format_func=lambda i: f"{view.label(int(i))} · group {view.arrays['group'][i]}", width=280,
            placeholder="A neuron of that group", key=f"move-{view.run}-{view.space['index']}-{acting[0]}-{proposed}",
        )
        same = target is not None and inside == {int(view.arrays["group"][target])}
        st.button(
            "Move", key="edit-move", icon=":material/arrow_forward:", disabled=target is None or same,
            on_click=_do, args=(view, {"edit": "move", "neurons": neurons, "to": _named(view, target)}),
        )
    if better is not None:
        group, margin = view.arrays["group"][better[0]], better[1]
        kind, words = ("A better group", "less") if margin < 0 else ("Second-best group", "more")
        st.caption(f"{kind}: {group}, with {plain(view.label(better[0]))}. There the space would lose "
                   f"{percent(abs(margin), 2)} {words} of its variance.")


def _named(view: SpaceView, index: int | None) -> str:
    return "" if index is None else str(view.neuron_of(int(index)))


def _second_best(view: SpaceView, neuron: int) -> tuple[int, float] | None:
    """The most important member of the second-best group of a neuron, and what moving there would lose more. Of the
    groups as they were found; None where edits have changed them, or there is no other."""
    if edit_list.of_space(str(view.space["name"])):
        return None
    try:
        found = second_best(view.run, str(view.space["name"]))
    except FusionError:
        return None
    group = int(found.group[neuron])
    members = np.flatnonzero(view.arrays["group"] == group)
    if group < 0 or not len(members):
        return None
    return int(members[np.argmax(view.arrays["importance"][members])]), float(found.margin[neuron])


def _do(view: SpaceView, edit: Mapping[str, Any]) -> None:
    """Add an edit if it can be done; otherwise say why and change nothing."""
    try:
        edit_list.add(view, {"edit": edit["edit"], "space": str(view.space["name"]), **edit})
    except FusionError as error:
        st.session_state[_TROUBLE] = str(error)


def _cost(view: SpaceView) -> None:
    """Variance lost before and after, of the space and of each group that changes."""
    with told():
        found = edit_list.previewed(view)
        if found is None:
            st.caption("What an edit costs is shown here before anything is fused: the variance that merging loses, "
                       "before and after.")
            return
        _metrics(found)
        changed = found.change.groups
        table(
            {
                "Group": [g.slot for g in changed],
                "Neurons": [f"{len(g.before)} → {len(g.after)}" for g in changed],
                "Lost before": [_share(g.lost_before, g.variance_before) for g in changed],
                "Lost after": [_share(g.lost_after, g.variance_after) for g in changed],
            },
            height=min(250, 36 * (len(changed) + 1)), alt="Groups that the edits change: neurons and variance lost",
        )


def _metrics(found: Preview) -> None:
    columns = st.columns(3)
    difference = found.change.lost_after - found.change.lost_before
    columns[0].metric("Variance lost before", percent(found.change.lost_before, 2))
    columns[1].metric(
        "after", percent(found.change.lost_after, 2), f"{100 * difference:+.3f} points", delta_color="inverse"
    )
    columns[2].metric("Free slots", found.free, help="Groups without a neuron: a split takes one")


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole > 0 else "–"


def _listed(view: SpaceView) -> None:
    """The edits of all spaces, with undo and redo, and their file."""
    edits = edit_list.current()
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.button("Undo", key="edits-undo", icon=":material/undo:", disabled=not edits, on_click=edit_list.undo)
        st.button("Redo", key="edits-redo", icon=":material/redo:", disabled=not edit_list.can_redo(),
                  on_click=edit_list.redo)
        st.button("Clear", key="edits-clear", icon=":material/clear_all:", disabled=not edits, on_click=edit_list.clear)
        if edits:
            st.download_button(
                "Edits (YAML)", yaml.safe_dump({"edits": edits}, sort_keys=False), "edits.yaml", "application/yaml",
                icon=":material/download:", on_click="ignore", key="edits-file",
                help="For `python -m fusion_engine fuse … --edits edits.yaml`, which gives the same weights",
            )
    if not edits:
        return
    st.markdown(f"**{count(len(edits), 'edit')}**, in order")
    for number, edit in enumerate(edits):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.button(
                "Remove", key=f"edit-drop-{number}", icon=":material/close:", type="tertiary",
                on_click=edit_list.drop, args=(number,), help="Take this edit out",
            )
            st.markdown(plain(in_words(view, edit)))


def in_words(view: SpaceView, edit: Mapping[str, Any]) -> str:
    """'fc1: move parent_0:17 to the group of parent_1:3'."""
    named = [_spelled(view, text) for text in edit["neurons"]]
    verb = _VERBS.get(edit["edit"], edit["edit"])
    tail = f" to the group of {_spelled(view, edit['to'])}" if "to" in edit else ""
    return f"{edit['space']}: {verb} {_some(named, 6)}{tail}"


def _some(names: Sequence[str], shown: int) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _spelled(view: SpaceView, text: str) -> str:
    parent, _, index = text.partition(":")
    return f"{view.names[int(parent)]}:{index}" if parent.isdecimal() and int(parent) < len(view.names) else text
