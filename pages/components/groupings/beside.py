"""Two groupings of the same neurons beside each other: how far they agree, which neurons moved, and what each loses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..inputs import pickers
from ..inputs.facts import facts
from ..neurons import selection
from ..recipe.recipes import able
from ..run import progress
from ..shared import space, state
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, percent, when
from ..shared.theme import BLUE, MUTED, figure, show
from . import group_table
from .agreement import adjusted_rand, flows, matched, mates_changed, moved

_METHOD = "by:"  # before the name of a method that has yet to group
_DRAWN = 7
_KEPT, _GONE = "rgba(0,114,178,.4)", "rgba(230,159,0,.6)"


@dataclass(frozen=True)
class Pair:
    """Both groupings of a space. neurons: (m,) those that are in a group of each, as indices into the arrays; first,
    second: (m,) their groups."""

    neurons: np.ndarray
    first: np.ndarray
    second: np.ndarray


def paired(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> Pair:
    """Of two runs' arrays of a space."""
    neurons = np.flatnonzero((first["group"] >= 0) & (second["group"] >= 0))
    return Pair(neurons, first["group"][neurons], second["group"][neurons])


def changed_groups(pair: Pair, importance: np.ndarray) -> list[dict[str, Any]]:
    """The first grouping's groups and what became of each, those with most importance that left or came first.

    importance: (m,) of the pair's neurons. like: the second's group it was matched with, None if all are taken.
    mass: share of the space's importance in kept; left; came."""
    same = matched(pair.first, pair.second)
    whole = max(float(importance.sum()), 1e-300)
    found = []
    for group in np.unique(pair.first).tolist():
        mine = pair.first == group
        like = same.get(group)
        theirs = pair.second == like if like is not None else np.zeros(len(mine), bool)
        found.append({
            "group": group, "like": like, "kept": int((mine & theirs).sum()), "left": int((mine & ~theirs).sum()),
            "came": int((theirs & ~mine).sum()), "mass": float(importance[mine ^ theirs].sum()) / whole,
        })
    return sorted(found, key=lambda entry: -entry["mass"])


def draw(view: SpaceView) -> None:
    """Choose the other grouping; then figures, flow picture and tables."""
    run = _other(view)
    if run is None:
        return
    result = store.read_explore(run)
    other = next((s for s in result["spaces"] if s["name"] == view.space["name"]), None)
    if other is None or list(other["sizes"]) != view.sizes:
        st.info("The other run has no such space, or with other neurons.")
        return
    arrays = space.load(run, other["index"])
    pair = paired(view.arrays, arrays)
    if not len(pair.neurons):
        st.info("No neuron is in a group of both.")
        return
    _figures(view, other, pair)
    changed = changed_groups(pair, view.arrays["importance"][pair.neurons])
    flow, groups = st.columns(2, gap="large")
    with flow:
        _flow(view, pair, changed)
    with groups:
        _changed(view, arrays, changed)
    _moved(view, arrays, pair)


def _other(view: SpaceView) -> str | None:
    """The run of the other grouping, once it is done; None while there is none."""
    own = store.read_explore(view.run)
    parents, data = state.get("parents"), state.get("data")
    kept = {
        run["id"]: _label(run) for run in store.list_runs()
        if run["state"] == "done" and run["kind"] in ("explore", "fuse") and run["id"] != view.run
        and run["arguments"].get("parents") == parents and run["arguments"].get("data") == data
    }
    offered = able("grouping", (client.catalogue() or {})["methods"], facts(store.read_parents_summary(parents)))
    fresh = {
        _METHOD + m["name"]: f"{m['title']} · as here otherwise" for m in offered
        if m["name"] != own["grouping"]["method"]
    }
    options = fresh | kept
    if edited(view):
        options = {view.run: "These groups as they were found, without the edits"} | options
    chosen = state.get("beside")
    if chosen not in options:
        chosen = None
    st.selectbox(
        "The other grouping", list(options), format_func=options.get, width=480,
        placeholder="A method, or an earlier run of these parents on this data",
        **state.bound("beside", "beside-run", chosen),
    )
    if chosen is None:
        return None
    if not chosen.startswith(_METHOD):
        return chosen
    arguments = {
        "parents": parents, "data": data, "seed": own["seed"], "importance": own["importance"]["method"],
        "grouping": chosen.removeprefix(_METHOD),
    }
    run = progress.remembered("explore", arguments)
    done = run and progress.follow(run, "Grouping the neurons", retry=lambda: progress.try_again(run))
    return run if done else None


def edited(view: SpaceView) -> bool:
    """Whether the groups that are shown are not those of the run."""
    return not np.array_equal(view.arrays["group"], space.load(view.run, view.space["index"])["group"])


def _label(run: Mapping[str, Any]) -> str:
    asked = run["arguments"]
    if run["kind"] == "fuse":
        return str(pickers.run_label(run))
    return f"Explored: {asked.get('grouping')}, importance {asked.get('importance')} · {when(run['created'])}"


def _figures(view: SpaceView, other: Mapping[str, Any], pair: Pair) -> None:
    gone = moved(pair.first, pair.second)
    here, there = (s.get("verdict") for s in (view.space, other))
    facts_shown = {
        "Adjusted Rand index": f"{adjusted_rand(pair.first, pair.second):.2f}",
        "Neurons that moved": f"{int(gone.sum())} of {len(gone)}",
        "Variance lost": f"{percent(view.space['error'])} → {percent(other['error'])}",
    }
    if here and there:
        facts_shown["The same, weighed by importance"] = f"{percent(here['cost'])} → {percent(there['cost'])}"
        facts_shown["Groups that mix parents"] = f"{here['mixed']} → {there['mixed']}"
    lines = "".join(f"<span>{name}</span><div>{text}</div>" for name, text in facts_shown.items())
    st.html(f'<div class="facts">{lines}</div>')
    st.caption(
        ("Here: with the edits. " if edited(view) else "")
        + "Adjusted Rand index: 1 the same groups, 0 no more alike than by chance (Hubert and Arabie 1985). Groups are "
        "matched by most shared neurons, each once; a neuron has moved if it is not in its group's match."
    )


def flow_picture(pair: Pair, drawn: list[int]) -> go.Figure:
    """Where the neurons of the `drawn` groups of the first grouping go. A link's width is its number of neurons; beside
    the match and the two widest others, what a group gives away is drawn as one link to other groups."""
    a, b, counts = flows(pair.first, pair.second)
    same = matched(pair.first, pair.second)
    links: list[tuple[int, int | None, int]] = []
    for group in drawn:
        ways = sorted(
            ((int(j), int(n)) for j, n in zip(b[a == group], counts[a == group], strict=True)),
            key=lambda way: (way[0] != same.get(group), -way[1]),
        )
        links += [(group, j, n) for j, n in ways[:3]]
        if rest := sum(n for _, n in ways[3:]):
            links.append((group, None, rest))
    right = list(dict.fromkeys(j for _, j, _ in links if j is not None))
    places: list[int | None] = [*right, *([None] if any(j is None for _, j, _ in links) else [])]
    chart = figure(min(520, max(280, 22 * len(places))), legend=False)
    chart.add_sankey(
        node={
            "label": [str(g) for g in drawn] + ["others" if j is None else str(j) for j in places], "pad": 8,
            "thickness": 14, "color": [BLUE] * len(drawn) + [MUTED] * len(places), "line": {"width": 0},
            "hovertemplate": "group %{label}: %{value} neurons<extra></extra>",
        },
        link={
            "source": [drawn.index(i) for i, _, _ in links],
            "target": [len(drawn) + places.index(j) for _, j, _ in links], "value": [n for _, _, n in links],
            "color": [_KEPT if j is not None and same.get(i) == j else _GONE for i, j, _ in links],
            "hovertemplate": "group %{source.label} → %{target.label}: %{value}<extra></extra>",
        },
    )
    return chart


def _flow(view: SpaceView, pair: Pair, changed: list[dict[str, Any]]) -> None:
    st.markdown("**Where neurons went**")
    drawn = [entry["group"] for entry in changed[:_DRAWN] if entry["left"] or entry["came"]]
    if not drawn:
        st.caption("Nowhere: the groups are the same.")
        return
    alt = f"From {count(len(drawn), 'group')} here to the groups there; the table of flows says the same of all groups"
    show(flow_picture(pair, drawn), alt, f"flow-{view.run}-{view.space['index']}")
    st.caption(
        f"The {len(drawn)} groups that changed most, here at the left, there at the right. Blue: to the matched group. "
        "Orange: elsewhere. Numbers name groups."
    )
    with st.expander("All flows, as a table"):
        a, b, counts = flows(pair.first, pair.second)
        table({"Group here": a, "Group there": b, "Neurons": counts}, alt="Neurons by group here and there", height=300)


def _changed(view: SpaceView, arrays: Mapping[str, np.ndarray], changed: list[dict[str, Any]]) -> None:
    st.markdown("**Groups that differ most**")
    key = f"beside-groups-{view.run}-{view.space['index']}-{state.get('beside')}"

    def chosen() -> None:
        group_table.choose(view, [changed[row]["group"] for row in st.session_state[key]["selection"]["rows"]])

    lost, lost_there = 100 * view.arrays["group_error"], 100 * arrays["group_error"]
    shares = st.column_config.NumberColumn(format="%.1f %%")
    table(
        {
            "Here": [e["group"] for e in changed], "There": [e["like"] for e in changed],
            "Kept": [e["kept"] for e in changed], "Left": [e["left"] for e in changed],
            "Came": [e["came"] for e in changed], "Changed": [100 * e["mass"] for e in changed],
            "Lost here": [lost[e["group"]] for e in changed],
            "Lost there": [None if e["like"] is None else lost_there[e["like"]] for e in changed],
        },
        height=352, key=key, on_select=chosen, selection_mode="multi-row",
        alt="Groups here, their match there, neurons kept, left and come, and variance lost in each",
        column_config={
            "Changed": st.column_config.NumberColumn(
                format="%.2f %%", help="Importance of the neurons that left or came, as a share of the space's"
            ),
            "Lost here": shares, "Lost there": shares,
        },
    )
    st.caption("Choose rows to select the groups' neurons.")


def _moved(view: SpaceView, arrays: Mapping[str, np.ndarray], pair: Pair) -> None:
    gone = moved(pair.first, pair.second)
    price = view.arrays["importance"][pair.neurons] * mates_changed(pair.first, pair.second)
    order = np.flatnonzero(gone)[np.argsort(-price[gone], kind="stable")]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**Neurons that moved: {len(order)}**", width="content")
        st.button(
            "Select all", key="beside-select", icon=":material/select_all:", disabled=not len(order),
            on_click=lambda: selection.put(view, pair.neurons[order]),
        )
    if not len(order):
        return
    key = f"beside-neurons-{view.run}-{view.space['index']}-{state.get('beside')}"

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        selection.put(view, pair.neurons[order[rows]])

    where = pair.neurons[order]
    rows: dict[str, Any] = {
        "Neuron": [view.label(int(i)) for i in where], "Importance": view.arrays["importance"][where],
        "Group here": pair.first[order], "Group there": pair.second[order],
        "Mates changed": 100 * mates_changed(pair.first, pair.second)[order],
    }
    lost = [name for name, of in (("Lost here", view.arrays), ("Lost there", arrays)) if "lost" in of]
    rows |= {name: 100 * (view.arrays if name == "Lost here" else arrays)["lost"][where] for name in lost}
    share = st.column_config.NumberColumn(format="%.0f %%")
    table(
        rows, height=320, key=key, on_select=chosen, selection_mode="multi-row",
        alt="Neurons that moved, with their groups and the variance they lose here and there",
        column_config={
            "Importance": st.column_config.NumberColumn(format="%.3g"), "Mates changed": share,
            **dict.fromkeys(lost, share),
        },
    )
    st.caption("Most important changes first. Choose rows to select the neurons; lost: of the neuron's own variance.")
