"""Levels of a fusion that works level by level: a chip for each, and the losses of one of them by epoch."""

import math
from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from ..shared.text import count, escaped, plain, short
from ..shared.theme import BLUE, INK, ORANGE, figure, show
from .level_runs import LevelRun, latest

_FOLLOW = -1
_STATES = {
    "waiting": ("○", "waiting"), "running": ("▸", "running"), "trained": ("✓", "trained"),
    "least_squares": ("◇", "least squares kept"), "start": ("◇", "start kept"),
}


def draw(runs: Sequence[LevelRun], key: str, solved: bool = False) -> None:
    """A row of chips and, once there are losses, the curves of the running or the chosen level.

    solved: least squares is the method itself and not what a level fell back to.
    """
    st.html(f'<div class="levels" role="list">{"".join(_chip(run, solved) for run in runs)}</div>')
    drawn = [run.index for run in runs if run.curve]
    if not drawn:
        return
    by_index = {run.index: run for run in runs}
    run = by_index[_choose(by_index, drawn, key)]
    show(
        loss_curves(run), f"Training and held-out loss of level {run.name} by epoch, logarithmic", f"curve-{key}",
        live=run.state == "running",
    )
    if run.reason:
        st.caption(f":material/info: {plain(run.name)}: {plain(run.reason)}")


def _choose(runs: dict[int, LevelRun], drawn: Sequence[int], key: str) -> int:
    """Which level's curves to show: the one at work, unless the reader chose another."""
    at_work = any(run.state in ("running", "waiting") for run in runs.values())
    options = [_FOLLOW, *drawn] if at_work else list(drawn)
    if len(options) < 2:
        return options[0]
    widget = f"level-{key}"
    if st.session_state.get(widget) not in options:
        st.session_state[widget] = options[0]
    chosen = st.selectbox(
        "Level", options, key=widget, width=400, label_visibility="collapsed",
        format_func=lambda i: "The level at work" if i == _FOLLOW else f"Level {i} · {short(runs[i].name, 36)}",
    )
    return latest(list(runs.values())) if chosen == _FOLLOW else chosen


def _chip(run: LevelRun, solved: bool) -> str:
    (sign, meaning), style = _STATES[run.state], run.state
    if solved and run.state == "least_squares":
        sign, meaning, style = "✓", "solved", "trained"
    epoch = f" {run.curve[-1][0]}/{run.epochs}" if run.state == "running" and run.curve and run.epochs else ""
    done = f"{100 * run.curve[-1][0] / run.epochs:.0f}%" if epoch else "0%"
    title = f"{run.name or f'level {run.index}'}: {meaning}" + (f", {run.reason}" if run.reason else "")
    label = escaped(short(run.name, 32)) if run.unit == "step" else " · ".join(
        [str(run.index), *([escaped(short(run.name, 32))] if run.name else [])]
    )
    return (
        f'<span role="listitem" class="{style}" style="--done: {done}" title="{escaped(title)}">'
        f"{sign} {label}{epoch}</span>"
    )


def loss_curves(run: LevelRun) -> go.Figure:
    """Training loss (dashed) and held-out loss (line with marks) against epoch, on a logarithmic axis."""
    chart = figure(270)
    series = (("Held out", 2, BLUE, "solid", "circle"), ("Training", 1, ORANGE, "dash", "square-open"))
    most = len(run.curve)
    for name, column, colour, dash, symbol in series:
        points = [(point[0], point[column]) for point in run.curve if point[column] is not None]
        chart.add_scatter(
            x=[p[0] for p in points], y=[p[1] for p in points], name=name,
            line={"color": colour, "dash": dash, "width": 2}, mode="lines+markers" if most <= 60 else "lines",
            marker={"symbol": symbol, "size": 6}, hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    best = min((p for p in run.curve if p[2] is not None), key=lambda p: p[2] or 0.0, default=None)
    if best is not None and most > 1:
        chart.add_scatter(
            x=[best[0]], y=[best[2]], mode="markers", name="Best", hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 14, "color": INK, "line": {"width": 2}},
        )
    last = max([run.epochs if run.state == "running" else 0, *(p[0] for p in run.curve)])
    level = "" if run.unit == "step" else f"level {run.index} · "
    chart.update_xaxes(
        title_text=f"{run.unit.capitalize()} of {level}{escaped(short(run.name, 40))}", range=[0, last * 1.02 + 0.2],
        dtick=1 if last <= 10 else None,
    )
    low, high = _limits([v for _, *pair in run.curve for v in pair if v is not None])
    marks = _marks(low, high)
    return chart.update_yaxes(
        title_text="Loss", type="log", range=[math.log10(low), math.log10(high)], tickvals=marks,
        ticktext=[f"{mark:g}" for mark in marks],
    )


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """The range of the logarithmic axis: the values with some room, and never so narrow that chance fills it."""
    low, high = (math.log10(f(values, default=1.0)) for f in (min, max))
    room = max(0.06 * (high - low), 0.03)
    return 10 ** (low - room), 10 ** (high + room)


def _marks(low: float, high: float) -> list[float]:
    """Where a logarithmic axis has its marks: at 1, 2 and 5 of every decade, at 1 alone where that is too many, and in
    equal steps where it is too few."""
    if high < 8 * low:
        raw = (high - low) / 6
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
        return [float(f"{k * step:.6g}") for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 4 else (1,)
    return [float(f"{m}e{decade}") for decade in range(first, last + 1, 1 + (last - first) // 8) for m in steps]


def summary(runs: Sequence[LevelRun]) -> str:
    """'5 levels trained, 1 kept its least-squares solution'."""
    numbers = Counter(run.state for run in runs)
    kept = (
        ("trained", "✓ {} trained"), ("least_squares", "◇ {} kept the least-squares solution"),
        ("start", "◇ {} kept the weights training starts from"),
    )
    return ", ".join(text.format(count(numbers[state], "level")) for state, text in kept if numbers[state])
