"""Correlations between a space's neurons as a heat map ordered by group, a click on which opens a pair, and the pairs
that the grouping treats otherwise than their correlation suggests."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fusion_engine.exploration.correlations import read_correlations

from ..neurons import selection
from ..shared.page_frame import existing
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, escaped
from ..shared.theme import BLUE, INK, PARENTS, SYMBOLS, VERMILION, clicked, figure, show

_GRID = 100  # places a side that can be clicked: more would lie under one fingertip
_LANE = 0.018  # of the picture, for the marks of one parent
_LISTED = 12
_SCALE = [[0, VERMILION], [0.5, "#FFFFFF"], [1, BLUE]]


def draw(view: SpaceView) -> None:
    """The heat map and, beside it, pairs that are alike but apart or together but unlike."""
    kept = _load(view.run, view.space["index"])
    if kept is None:
        st.caption("This run has kept no correlations: it is of an earlier version, or the space is too wide.")
        return
    order = by_group(view, kept[0])
    index, hundredths = kept[0][order], kept[1][np.ix_(order, order)]
    chart, pairs = st.columns([5, 4], gap="large")
    with chart:
        _chart(view, index, hundredths)
    with pairs:
        groups = view.arrays["group"][index]
        _pairs(view, index, hundredths, apart(groups, hundredths), "Alike, but in different groups", "apart")
        _pairs(view, index, hundredths, together(groups, hundredths), "In one group, but unlike", "together")
        st.caption("Choose a row to select both neurons. Correlations are rounded to hundredths.")


def by_group(view: SpaceView, index: np.ndarray) -> np.ndarray:
    """(m,) order of the neurons `index`: the most important group first, those of no group last; in a group by
    parent."""
    groups, worth = view.arrays["group"][index], np.append(view.arrays["group_importance"], -1.0)
    return np.lexsort((index, groups, -worth[groups]))


def apart(groups: np.ndarray, hundredths: np.ndarray) -> np.ndarray:
    """(p, 2) the most correlated pairs of different groups, best first, as places in `groups`; only above zero."""
    value = np.where(np.triu(groups[:, None] != groups, 1), hundredths, 0).ravel()
    few = min(_LISTED, len(value))
    kept = np.flatnonzero(value >= max(int(np.partition(value, -few)[-few]), 1))
    first, second = np.divmod(kept, len(groups))
    return _best(first, second, value[kept].astype(np.int16))


def together(groups: np.ndarray, hundredths: np.ndarray) -> np.ndarray:
    """(p, 2) the least correlated pairs of one group, worst first, as places in `groups`; only below 0.99."""
    sorted_places = np.argsort(groups, kind="stable")
    firsts, seconds = [], []
    for members in np.split(sorted_places, np.flatnonzero(np.diff(groups[sorted_places])) + 1):
        if groups[members[0]] >= 0:
            a, b = np.triu_indices(len(members), 1)
            firsts.append(members[a])
            seconds.append(members[b])
    first, second = np.concatenate([*firsts, np.zeros(0, int)]), np.concatenate([*seconds, np.zeros(0, int)])
    return _best(first, second, 99 - hundredths[first, second].astype(np.int16))


def _best(first: np.ndarray, second: np.ndarray, value: np.ndarray) -> np.ndarray:
    few = min(_LISTED, len(value))
    if not few:
        return np.zeros((0, 2), np.int64)
    best = np.argpartition(-value, few - 1)[:few]
    best = best[np.argsort(-value[best], kind="stable")]
    best = best[value[best] > 0]
    return np.stack([first[best], second[best]], 1)


@st.cache_data(max_entries=4, show_spinner=False)
def _load(run: str, index: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Neurons and their correlations in hundredths, as int8: that is all one sees, and little to send."""
    found = existing(read_correlations, run, index)
    return None if found is None else (found[0], np.rint(100 * found[1]).astype(np.int8))


def _chart(view: SpaceView, index: np.ndarray, hundredths: np.ndarray) -> None:
    key = f"correlation-{view.run}-{view.space['index']}"
    total = len(index)

    def open_pair() -> None:
        number = clicked(key)
        if number is not None and 0 <= number < total * total:
            _open(view, index[[number // total, number % total]])

    show(
        picture(view, index, hundredths),
        f"Correlations between {count(total, 'neuron')}, ordered by group; the tables beside it name the pairs that "
        "stand out", key, on_select=open_pair, selection_mode="points",
    )
    sampled = "" if total == view.total else (
        f" Of {count(view.total, 'neuron')} the {total:,} most important are shown."
    )
    coarse = "" if total <= _GRID else " A click opens the most correlated pair of the place."
    st.caption(
        f"Neurons by group, the most important group first; boxes are groups, marks at the edges tell the parents. "
        f"Click a place to select its two neurons and look at the first.{coarse}{sampled}"
    )


def _open(view: SpaceView, pair: np.ndarray) -> None:
    selection.put(view, pair)
    selection.put_focus(view, int(pair[0]))


def picture(view: SpaceView, index: np.ndarray, hundredths: np.ndarray) -> go.Figure:
    """The heat map. Points carry row x m + column of their pair as customdata."""
    total = len(index)
    chart = figure(560, margin={"l": 4, "r": 4, "t": 30, "b": 4}, dragmode=False, clickmode="event+select",
                   hovermode="closest")
    chart.add_heatmap(
        z=hundredths, zmin=-100, zmax=100, colorscale=_SCALE, hoverinfo="skip",
        colorbar={
            "thickness": 12, "outlinewidth": 0, "tickvals": [-100, -50, 0, 50, 100],
            "ticktext": ["−1", "−0.5", "0", "0.5", "1"], "title": {"text": "r"},
        },
    )
    across, down = outlines(view.arrays["group"][index])
    chart.add_scatter(
        x=across, y=down, mode="lines", line={"color": INK, "width": 1}, hoverinfo="skip", showlegend=False
    )
    _add_edges(chart, view, index)
    _add_places(chart, view, index, hundredths)
    chosen = np.flatnonzero(np.isin(index, selection.get(view)))
    if len(chosen) == 2:
        chart.add_scatter(
            x=chosen, y=chosen[::-1], mode="markers", hoverinfo="skip", showlegend=False,
            marker={"symbol": "circle-open", "size": 14, "color": INK, "line": {"width": 2}},
        )
    room = (len(view.names) + 0.2) * _LANE * total
    axis = {"visible": False, "fixedrange": True, "constrain": "domain"}
    chart.update_xaxes(**axis, range=[-0.5 - room, total - 0.5])
    return chart.update_yaxes(**axis, range=[total - 0.5, -0.5 - room], scaleanchor="x")


def outlines(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of one line around every group of two neurons or more, with gaps in between."""
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(groups)) + 1, [len(groups)]])
    low, high = bounds[:-1], bounds[1:]
    several = (high - low > 1) & (groups[low] >= 0)
    low, high, gap = low[several] - 0.5, high[several] - 0.5, np.full(several.sum(), np.nan)
    return np.stack([low, high, high, low, low, gap], 1).ravel(), np.stack([low, low, high, high, low, gap], 1).ravel()


def _add_edges(chart: go.Figure, view: SpaceView, index: np.ndarray) -> None:
    """The parents' marks along both edges, each in a lane of its own."""
    total, parent = len(index), view.arrays["parent"][index]
    for number, name in enumerate(view.names):
        places = np.flatnonzero(parent == number)
        away = -0.5 - (0.6 + number) * _LANE * total
        chart.add_scatter(
            x=np.concatenate([places, np.full(len(places), away)]),
            y=np.concatenate([np.full(len(places), away), places]),
            mode="markers", name=escaped(name), hoverinfo="skip",
            marker={"size": 6 if total <= 100 else 4, "color": PARENTS[number % 8], "symbol": SYMBOLS[number % 8]},
        )


def _add_places(chart: go.Figure, view: SpaceView, index: np.ndarray, hundredths: np.ndarray) -> None:
    """Transparent points that tell what lies below and can be clicked: heat maps report no clicks."""
    rows, columns = places(hundredths)
    total = len(index)
    labels = [escaped(view.label(int(i))) for i in index]
    values = (hundredths[rows, columns] / 100).tolist()
    chart.add_trace(go.Scattergl(
        # Lists within an array, which Plotly does not check one by one; of a typed array the browser would hand back
        # a mapping.
        x=columns, y=rows, mode="markers", showlegend=False,
        customdata=np.frompyfunc(lambda code: [code], 1, 1)(rows * total + columns),
        text=np.array(
            [f"{labels[r]} and {labels[c]}<br>r = {v:.2f}"
             for r, c, v in zip(rows.tolist(), columns.tolist(), values, strict=True)],
            object,
        ),
        hovertemplate="%{text}<extra></extra>", marker={"size": 6, "opacity": 0},
        selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}},
    ))


def places(hundredths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that can be clicked: every pair or, of more than 100 neurons, the most correlated pair of
    different neurons in each of 100 x 100 blocks."""
    total = len(hundredths)
    if total <= _GRID:
        rows, columns = np.divmod(np.arange(total * total), total)
        return rows, columns
    bounds = np.linspace(0, total, _GRID + 1).astype(np.int64)
    strength = np.abs(hundredths.astype(np.int16))
    np.fill_diagonal(strength, -1)
    starts = bounds[:-1]
    found_rows, found_columns = [], []
    for top, bottom in pairwise(bounds):
        band = strength[top:bottom]
        best = band.argmax(0)  # the best row of every column; then the best column of every block
        peak = band[best, np.arange(total)]
        block = np.repeat(np.arange(_GRID), np.diff(bounds))
        columns = np.lexsort((-peak, block))[starts]
        found_rows.append(top + best[columns])
        found_columns.append(columns)
    return np.concatenate(found_rows), np.concatenate(found_columns)


def _pairs(
    view: SpaceView, index: np.ndarray, hundredths: np.ndarray, pairs: np.ndarray, title: str, name: str
) -> None:
    st.markdown(f"**{title}**")
    if not len(pairs):
        st.caption("No pair is so.")
        return
    key = f"pairs-{name}-{view.run}-{view.space['index']}"
    first, second = index[pairs[:, 0]], index[pairs[:, 1]]

    def chosen() -> None:
        if rows := st.session_state[key]["selection"]["rows"]:
            _open(view, np.array([first[rows[0]], second[rows[0]]]))

    groups = view.arrays["group"]
    table(
        {"Neuron": _labels(view, first), "With": _labels(view, second),
         "Correlation": hundredths[pairs[:, 0], pairs[:, 1]] / 100, "Groups": [
             str(groups[a]) if groups[a] == groups[b] else f"{_group(groups[a])}, {_group(groups[b])}"
             for a, b in zip(first, second, strict=True)
         ]},
        alt=title, key=key, on_select=chosen, selection_mode="single-row", height=246,
        column_config={"Correlation": st.column_config.NumberColumn(format="%.2f")},
    )


def _labels(view: SpaceView, index: Sequence[int] | np.ndarray) -> list[str]:
    return [view.label(int(i)) for i in index]


def _group(number: int) -> str:
    return "none" if number < 0 else str(number)
