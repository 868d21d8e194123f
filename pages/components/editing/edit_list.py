"""The edits that are being made: a list in the store that the address names by its digest (`edits=`), undo and redo.

They come on top of the groups that are shown. Whoever opens the address sees the same edits; what was undone is known
to the session alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.exploration.edit_preview import Preview, preview

from ..shared import state
from ..shared.space import SpaceView

Edits = list[dict[str, Any]]
_UNDONE = "edits-undone"


def current() -> Edits:
    """The edits of the address, of all spaces, in their order. Raises StoreError where the store has none such."""
    digest = state.get("edits")
    return list(json.loads(store.read_text("edits", digest))) if digest else []


def of_space(space: str) -> Edits:
    return [edit for edit in current() if edit["space"] == space]


def add(view: SpaceView, edit: Mapping[str, Any]) -> None:
    """One more edit of this space; what was undone before is forgotten. FusionError in one line, and nothing changes,
    where it cannot be done after the others."""
    name = str(view.space["name"])
    preview(view.run, name, [*of_space(name), edit])
    st.session_state[_UNDONE] = []
    _put([*current(), dict(edit)])


def undo() -> None:
    *rest, last = current()
    _undone().append(last)
    _put(rest)


def redo() -> None:
    _put([*current(), _undone().pop()])


def can_redo() -> bool:
    return bool(_undone())


def drop(number: int) -> None:
    """Take one edit out of the middle."""
    edits = current()
    del edits[number]
    st.session_state[_UNDONE] = []
    _put(edits)


def clear() -> None:
    """No edits; redo brings them back one by one."""
    st.session_state[_UNDONE] = [*_undone(), *reversed(current())]
    state.put(edits=None)


def previewed(view: SpaceView) -> Preview | None:
    """What the edits of this space make of it; None without any. FusionError in one line where they do not fit."""
    edits = of_space(str(view.space["name"]))
    return _preview(view.run, str(view.space["name"]), json.dumps(edits)) if edits else None


def applied(view: SpaceView) -> tuple[SpaceView, str]:
    """The space as it is after its edits, with what they make of its verdict; and '' or why they cannot be shown."""
    try:
        found = previewed(view)
    except FusionError as error:
        return view, str(error)
    if found is None:
        return view, ""
    arrays = {
        **view.arrays, "group": found.labels, "group_members": found.group_members,
        "group_importance": found.group_importance, "group_error": found.group_error, "lost": found.lost,
    }
    judged = {"error": found.change.lost_after, "verdict": found.verdict}
    return replace(view, arrays=arrays, space={**view.space, **judged}), ""


@st.cache_data(max_entries=64, show_spinner=False)
def _preview(run: str, space: str, edits: str) -> Preview:
    return preview(run, space, json.loads(edits))


def _put(edits: Sequence[Mapping[str, Any]]) -> None:
    state.put(edits=store.keep_text("edits", json.dumps(edits)) if edits else None)


def _undone() -> Edits:
    undone: Edits = st.session_state.setdefault(_UNDONE, [])
    return undone
