"""The traced model on the Parents page: its picture, levels that can be folded and merged, and the same as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine.core.level_plan import Plan, finest

from ..shared import state
from ..shared.tables import table
from ..shared.text import count
from ..shared.theme import clicked, show
from .level_groups import join_groups, merged, parsed, split, written
from .level_rows import Row, folded_rows, numbered
from .model_chart import model_picture, parameters, row_title, shape_text
from .space_bars import FREEDOM, levels_of

_CHART = "model-picture"


@st.fragment
def draw(result: Mapping[str, Any], input_shape: Sequence[int]) -> None:
    """Picture, controls and tables. A fragment: a click redraws no more than this."""
    levels = result["levels"]
    groups = parsed(state.get("levels"), len(levels))
    if groups is None:
        state.forget("levels")
        groups = finest(len(levels))
    foldable = len(folded_rows(levels, groups)) < len(groups)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("What they are made of", anchor=False, width="content")
        everything = foldable and st.toggle(f"Show all {len(groups)} levels", key="all-levels")
    opened = None if everything else st.session_state.setdefault("opened-levels", set())
    shown = folded_rows(levels, groups, opened)
    if len(groups) > 1 or len(levels) > 1:
        _controls(levels, groups)
    first, last = _chosen(groups)
    marked = [n for n, row in enumerate(shown) if not row.repeats and first <= row.groups[0] <= last]
    names = ", ".join(level["name"] for level in levels[:40])
    alt = (
        f"The model's {count(len(groups), 'level')} from input to output ({names}) and "
        f"{count(len(result['spaces']), 'space')} beside them; the tables below say the same"
    )
    picture = model_picture(result, shown, marked, input_shape)
    show(picture, alt, _CHART, on_select=lambda: _clicked(shown), selection_mode="points")
    st.caption(
        "Boxes are levels, from input to output. Coloured bars are spaces of interchangeable neurons beside the levels "
        "that use them: ● a level makes the neurons, ○ it reads them. A wide bar is attention heads with the spaces "
        "inside them. Click a level to choose it."
    )
    _tables(result, groups)


def _clicked(shown: Sequence[Row]) -> None:
    """What a click on a box does: a folded one unfolds, any other becomes the first level to merge."""
    number = clicked(_CHART)
    if number is None or number >= len(shown):
        return
    row = shown[number]
    if row.repeats:
        st.session_state["opened-levels"].add(row.groups[0])
    else:
        _choose(row.groups[0])


def _controls(levels: Sequence[Mapping[str, Any]], groups: Plan) -> None:
    def named(number: int) -> str:
        first, last = groups[number]
        return f"{numbered(groups[number])} · {row_title(levels, Row((number,), tuple(range(first, last + 1))))}"

    first, last = _chosen(groups)
    st.session_state["merge-first"], st.session_state["merge-last"] = first, last
    with st.container(horizontal=True, vertical_alignment="bottom", key="merge-controls"):
        st.selectbox(
            "Merge from", range(len(groups)), format_func=named,
            key="merge-first", on_change=lambda: _choose(st.session_state["merge-first"]), width=280,
            help="The gradient solver trains one level after the other. Levels merged here are trained as one.",
        )
        st.selectbox(
            "to", range(len(groups)), format_func=named, key="merge-last", width=280,
            on_change=lambda: _choose(*sorted((st.session_state["merge-first"], st.session_state["merge-last"]))),
        )
        together = groups[last][1] - groups[first][0] + 1
        st.button(
            f"Merge {together} levels" if last > first else "Merge", key="merge", icon=":material/merge:",
            type="primary", disabled=last == first, on_click=_put, args=(merged(groups, first, last), first),
        )
        st.button(
            "Split", key="split", icon=":material/call_split:", disabled=groups[first][0] == groups[first][1],
            on_click=_put, args=(split(groups, first), first), help="Take the chosen merged level apart again.",
        )
        history = st.session_state.setdefault("levels-history", [])
        st.button("Undo", key="merge-undo", icon=":material/undo:", disabled=not history,
                  on_click=lambda: state.put(levels=history.pop() or None))
        st.button(
            "Reset", key="merge-reset", icon=":material/restart_alt:", disabled=not written(groups),
            on_click=_put, args=(finest(len(levels)), 0),
        )
    if written(groups):
        st.caption(
            f":material/merge: Merged: {join_groups(groups)}; {count(len(groups), 'level')} of "
            f"{len(levels)} left. Solvers that train level by level use them so; the Fuse page says which do."
        )


def _chosen(groups: Plan) -> tuple[int, int]:
    """First and last of the groups to merge: as chosen, else the first level and the next."""
    first, last = (min(number, len(groups) - 1) for number in st.session_state.get("merge-range", (0, 1)))
    return first, max(first, last)


def _choose(first: int, last: int | None = None) -> None:
    """Begin at this group; end at the next, or as given."""
    st.session_state["merge-range"] = (first, first + 1 if last is None else last)


def _put(groups: Plan, number: int) -> None:
    st.session_state["levels-history"] = [*st.session_state["levels-history"], state.get("levels")][-50:]
    state.put(levels=written(groups) or None)
    _choose(number)


def _tables(result: Mapping[str, Any], groups: Plan) -> None:
    levels = result["levels"]
    with st.expander(f"As tables: {count(len(groups), 'level')} and {count(len(result['spaces']), 'space')}"):
        st.markdown("**Levels**")
        table(
            [{
                "Level": numbered(group), "Name": row_title(levels, row),
                "Output": shape_text(levels[group[1]]["output_shape"]), "Parameters": parameters(levels, row),
                "Layers": ", ".join(name for i in row.levels for name in levels[i]["layers"]) or "–",
                "Spaces": ", ".join(dict.fromkeys(n for i in row.levels for n in levels[i].get("spaces", ()))) or "–",
            } for group, row in ((g, Row((), tuple(range(g[0], g[1] + 1)))) for g in groups)],
            alt="Levels with output shape, parameters, layers and spaces", numbers=["Parameters"],
        )
        st.markdown("**Spaces of interchangeable neurons**")
        names = [level["name"] for level in levels]
        table(
            [{
                "Space": s["name"], "Neurons": s["size"], "Levels": ", ".join(names[i] for i in levels_of(s)) or "–",
                "Inside": s.get("inside") or "–", "Freedom": FREEDOM[s["freedom"]],
                "Tensors it ties together": ", ".join(m["tensor"] for m in s["members"]),
            } for s in result["spaces"]],
            alt="Spaces of interchangeable neurons",
        )
