"""Accuracy against seconds: every recipe of a leaderboard, who is on the front, and the references as lines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from fusion_engine.core.types import merit

from ..run.reports import METRICS, score_text
from ..shared.text import escaped, seconds
from ..shared.theme import BLUE, FAINT, INK, MUTED, ROLES, SKY, figure
from .point_labels import HEIGHT, offsets

REFERENCES = {
    "best_parent": ("Best parent", "parent", "solid"),
    "mean_parent": ("Mean parent", "parent", "dot"),
    "average": ("Plain average", "average", "dash"),
    "ensemble": ("Ensemble, logits", "ensemble", "dot"),
    "softmax_ensemble": ("Ensemble, softmax", "ensemble", "solid"),
    "head_weighted_ensemble": ("Ensemble, by head", "ensemble", "dash"),
}
"""Of the references: label, role and dash."""

_HEIGHT, _PLOT, _WIDTH = 460, 360, 860  # pixels: the picture, its plot's height, its width in a window of 1,280


def score_of(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The spread of an entry's metric; boards of earlier versions have accuracies alone."""
    found: Mapping[str, Any] | None = entry.get("score", entry["accuracy"])
    return found


def metric_of_board(board: Mapping[str, Any]) -> str:
    """By what the networks of a leaderboard are compared."""
    measured = [entry for entry in board["entries"] if score_of(entry)]
    return str(measured[0].get("metric", "accuracy")) if measured else "accuracy"


def front_chart(
    entries: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]], chosen: str = ""
) -> go.Figure:
    """Points with their number in the table; those on the front are joined and named, as is the chosen one."""
    shown = [(number, entry) for number, entry in enumerate(entries, 1) if score_of(entry)]
    metric = metric_of_board({"entries": entries})
    references = [reference for reference in references if reference.get(metric) is not None]
    chart = figure(_HEIGHT, legend=True, margin={"l": 8, "r": 185, "t": 40, "b": 8})
    levels = [_level(entry) for _, entry in shown] + [_scale(metric) * r[metric] for r in references]
    low, high = min(levels, default=0.0), max(levels, default=100.0)
    room = max(0.06 * (high - low), 0.3 if metric == "accuracy" else 0.01)
    low, high = low - room, high + room
    _lines(chart, references, _PLOT / (high - low), metric)
    front = sorted((pair for pair in shown if pair[1]["pareto"]), key=lambda pair: pair[1]["seconds"])
    rest = [pair for pair in shown if not pair[1]["pareto"]]
    chart.add_scatter(
        x=[entry["seconds"] for _, entry in front], y=[_level(entry) for _, entry in front], mode="lines",
        line={"color": BLUE, "width": 1.5, "shape": "hv"}, hoverinfo="skip", showlegend=False,
    )
    _points(chart, rest, "Others", "circle", SKY, 11)
    _points(chart, front, "Nobody is faster and better", "diamond", BLUE, 15)
    if shown:
        first, last = (f(math.log10(entry["seconds"]) for _, entry in shown) for f in (min, max))
        first, last = first - 0.15, last + 0.45
        chart.update_xaxes(range=[first, last])
        _labels(chart, shown, chosen, (first, low), (_WIDTH / (last - first), _PLOT / (high - low)))
    marks = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)]
    chart.update_xaxes(
        title_text="Seconds a fusion takes by itself, median", type="log", tickvals=marks,
        ticktext=[_mark(m) for m in marks],
    )
    suffix = " %" if metric == "accuracy" else ""
    # Less perplexity is better, so it grows downwards: the best is always at the top.
    span = [high, low] if metric == "perplexity" else [low, high]
    return chart.update_yaxes(title_text=f"{METRICS[metric]} on the test data", ticksuffix=suffix, range=span)


def _points(
    chart: go.Figure, pairs: Sequence[tuple[int, Mapping[str, Any]]], name: str, symbol: str, colour: str, size: int
) -> None:
    spread = [score_of(entry) or {} for _, entry in pairs]
    metric = pairs[0][1].get("metric", "accuracy") if pairs else "accuracy"
    scale = _scale(metric)
    chart.add_scatter(
        x=[entry["seconds"] for _, entry in pairs], y=[_level(entry) for _, entry in pairs], name=name,
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 1, "color": "white"}},
        error_y={
            "type": "data", "symmetric": False, "array": [scale * (a["max"] - a["mean"]) for a in spread],
            "arrayminus": [scale * (a["mean"] - a["min"]) for a in spread],
            "color": FAINT, "thickness": 1.5, "width": 4,
        },
        customdata=[
            (number, escaped(entry["label"]), score_text(a["mean"], metric), seconds(entry["seconds"]))
            for (number, entry), a in zip(pairs, spread, strict=True)
        ],
        hovertemplate="%{customdata[0]} %{customdata[1]}<br>%{customdata[2]} in %{customdata[3]}<extra></extra>",
    )


def _labels(
    chart: go.Figure, shown: Sequence[tuple[int, Mapping[str, Any]]], chosen: str, origin: tuple[float, float],
    scale: tuple[float, float],
) -> None:
    """The points' numbers, with names where they are on the front or chosen; those come first."""
    named = [entry["pareto"] or entry["label"] == chosen for _, entry in shown]
    order = sorted(range(len(shown)), key=lambda i: not named[i])
    texts = [f"{shown[i][0]} {shown[i][1]['label']}" if named[i] else str(shown[i][0]) for i in order]
    places = [(math.log10(shown[i][1]["seconds"]), _level(shown[i][1])) for i in order]
    pixels = [((x - origin[0]) * scale[0], (y - origin[1]) * scale[1]) for x, y in places]
    for i, (x, y), (right, up) in zip(order, places, offsets(pixels, texts, _WIDTH, _PLOT), strict=True):
        number, entry = shown[i]
        chart.add_annotation(
            x=x, y=y, xanchor="left", yanchor="bottom", xshift=right, yshift=up, borderpad=0, showarrow=False,
            text=f"<b>{number}</b> {escaped(entry['label'])}" if named[i] else str(number),
            font={"size": 13 if named[i] else 11, "color": INK if named[i] else MUTED},
        )


def _lines(chart: go.Figure, references: Sequence[Mapping[str, Any]], scale: float, metric: str) -> None:
    """A line across for each reference, its name at the right edge; names are moved apart where lines are close.
    scale: pixels a percent, or a unit of another metric."""
    known = [r for r in references if r["name"] in REFERENCES]
    known.sort(key=lambda r: -merit(metric, r[metric]))
    wanted = [merit(metric, _scale(metric) * r[metric]) * scale for r in known]
    placed: list[float] = []
    for height in wanted:
        placed.append(min(height, placed[-1] - HEIGHT) if placed else height)
    for reference, height, at in zip(known, wanted, placed, strict=True):
        label, role, dash = REFERENCES[reference["name"]]
        level = _scale(metric) * reference[metric]
        chart.add_hline(y=level, line={"color": ROLES[role], "width": 1.3, "dash": dash}, layer="below")
        chart.add_annotation(
            text=f"{label} {score_text(reference[metric], metric, 1)}", x=1.0, xref="paper", xanchor="left", xshift=4,
            y=level, yshift=at - height, yanchor="middle", showarrow=False, font={"size": 12, "color": MUTED},
        )


def _level(entry: Mapping[str, Any]) -> float:
    return _scale(entry.get("metric", "accuracy")) * float((score_of(entry) or {})["mean"])


def _scale(metric: str) -> float:
    """Accuracies are shown in percent."""
    return 100.0 if metric == "accuracy" else 1.0


def _mark(value: float) -> str:
    if value >= 60:
        return f"{value / 60:.3g}\u202fmin" if value % 60 == 0 else f"{value:.0f}\u202fs"
    return f"{value:g}\u202fs" if value >= 1 else f"{1000 * value:g}\u202fms"
