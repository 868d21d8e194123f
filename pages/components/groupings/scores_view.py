"""Importance by several methods beside each other: how far their rankings agree, and where they differ most."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..neurons import selection
from ..plane.measured import scores_of
from ..run import progress
from ..shared import state
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, escaped, plain
from ..shared.theme import FAINT, INK, PARENTS, SYMBOLS, VERMILION, clicked, figure, scatter, show
from .agreement import ranks, spearman

_LISTED = 15


def draw(view: SpaceView) -> None:
    """Scores are computed once this section is opened, and kept."""
    arguments = {"parents": state.get("parents"), "data": state.get("data"), "seed": state.number("seed", 0)}
    run = progress.remembered("scores", arguments)
    if not run or not progress.follow(run, "Scoring the neurons", retry=lambda: progress.try_again(run)):
        return
    scores = scores_of(run, str(view.space["name"]), tuple(view.sizes))
    titles = {m["name"]: m["title"] for m in (client.catalogue() or {}).get("methods", {}).get("importance", ())}
    scores = {titles.get(name, name): values for name, values in scores.items()}
    for method, reason in store.read_result(run)["skipped"].items():
        st.caption(f"{plain(titles.get(method, method))} is left out: {plain(reason)}")
    if len(scores) < 2:
        st.info("Fewer than two methods score the neurons of this space.")
        return
    agreeing, differing = st.columns(2, gap="large")
    with agreeing:
        _agreement(scores)
    with differing:
        _differences(view, scores)
    _side_by_side(view, scores)


def most_different(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neurons by how far their ranks are apart, the furthest first; and (T,) the ranks in each, from 1."""
    a, b = ranks(first), ranks(second)
    return np.argsort(-np.abs(a - b), kind="stable"), a, b


def _agreement(scores: Mapping[str, np.ndarray]) -> None:
    names = list(scores)
    values = {
        name: [spearman(scores[name], scores[other]) for other in names] for name in names
    }
    st.markdown("**Agreement of their rankings**")
    table(
        {"Method": names, **values}, alt="Spearman's rank correlation of every two importance scores",
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in names},
    )
    st.caption("Spearman's rank correlation over all neurons of the space: 1 the same order, 0 unrelated, −1 reversed.")


def _differences(view: SpaceView, scores: Mapping[str, np.ndarray]) -> None:
    names = list(scores)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        first = st.selectbox("Rank by", names, key="scores-first")
        second = st.selectbox("against", [name for name in names if name != first], key="scores-second")
    order, a, b = most_different(scores[first], scores[second])
    key = f"scores-plane-{view.run}-{view.space['index']}"
    chart = _ranks_chart(view, a, b, first, second)
    show(
        chart, f"Ranks of {count(view.total, 'neuron')} by {first} and by {second}; the table says the same", key,
        on_select=lambda: _look(view, clicked(key)), selection_mode="points",
    )
    shown = order[:_LISTED]
    st.markdown(f"**Where {plain(first)} and {plain(second)} differ most**")
    listed = f"scores-differ-{view.run}-{view.space['index']}-{hash((first, second))}"
    table(
        {"Neuron": [view.label(int(i)) for i in shown], f"Rank by {first}": a[shown], f"Rank by {second}": b[shown],
         "Apart": np.abs(a - b)[shown], "Group": view.arrays["group"][shown]},
        height=280, key=listed, on_select=lambda: _look_row(view, listed, shown), selection_mode="single-row",
        alt=f"The neurons whose ranks by {first} and {second} differ most",
    )


def _ranks_chart(view: SpaceView, a: np.ndarray, b: np.ndarray, first: str, second: str) -> go.Figure:
    chart = figure(330, dragmode=False)
    draw_points = scatter(view.total)
    far = [1, view.total]
    chart.add_scatter(x=far, y=far, mode="lines", line={"color": FAINT, "dash": "dot"}, hoverinfo="skip",
                      showlegend=False)
    still = {"marker": {"opacity": 0.8}}
    for parent, name in enumerate(view.names):
        own = np.flatnonzero(view.arrays["parent"] == parent)
        chart.add_trace(draw_points(
            x=a[own], y=b[own], mode="markers", name=escaped(name), selected=still, unselected=still,
            marker={"color": PARENTS[parent % 8], "symbol": SYMBOLS[parent % 8], "size": 7, "opacity": 0.8},
            customdata=[[int(i), escaped(view.label(int(i)))] for i in own],
            hovertemplate="%{customdata[1]}<br>rank %{x} and %{y}<extra></extra>",
        ))
    if (focus := selection.focus(view)) is not None:
        chart.add_scatter(
            x=[a[focus]], y=[b[focus]], mode="markers", showlegend=False, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 15, "color": VERMILION, "line": {"width": 3, "color": VERMILION}},
        )
    title = {"font": {"size": 13, "color": INK}}
    chart.update_xaxes(title={"text": f"rank by {escaped(first)}", **title}, range=[far[1] * 1.03, 0.5])
    chart.update_yaxes(title={"text": f"rank by {escaped(second)}", **title}, range=[far[1] * 1.03, 0.5])
    return chart


def _side_by_side(view: SpaceView, scores: Mapping[str, np.ndarray]) -> None:
    st.markdown("**All scores side by side**")
    key = f"scores-all-{view.run}-{view.space['index']}"
    order = np.argsort(sum(ranks(values) for values in scores.values()), kind="stable")
    ranked = {f"Rank by {name}": ranks(values)[order] for name, values in scores.items()}
    table(
        {"Neuron": [view.label(int(i)) for i in order], **ranked, **{n: v[order] for n, v in scores.items()}},
        height=320, key=key, on_select=lambda: _look_row(view, key, order), selection_mode="single-row",
        alt="Every neuron's ranks and scores by every method, best mean rank first",
        column_config={name: st.column_config.NumberColumn(format="%.3g") for name in scores},
    )
    st.caption("Best mean rank first; a column's head sorts by it. Choose a row, or a point, to look at the neuron.")


def _look(view: SpaceView, neuron: int | None) -> None:
    if neuron is not None:
        selection.put_focus(view, neuron)


def _look_row(view: SpaceView, key: str, neurons: np.ndarray) -> None:
    if rows := st.session_state[key]["selection"]["rows"]:
        selection.put_focus(view, int(neurons[rows[0]]))
