"""Charts of analyses: error budget, paths between networks, levels, similarity. Pure functions from plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from ..shared.text import distinct, escaped
from ..shared.theme import INK, MUTED, PARENTS, ROLES, add_cells, figure, hatched

MEASURES = {
    "cka": "Linear CKA", "svcca": "SVCCA", "cca": "Mean CCA", "distance_correlation": "Distance correlation",
    "partial_distance_correlation": "Partial distance corr.",
}
_BLUE, _ORANGE, _VERMILION = PARENTS[0], PARENTS[1], PARENTS[5]
_WAYS = (("as_is", "As they are", _VERMILION, "square", "dash"), ("aligned", "Aligned", _BLUE, "circle", "solid"))
SEQUENTIAL = ((0.0, "#FBF7EF"), (0.5, "#9CCBE6"), (1.0, "#0072B2"))


def budget_chart(budget: Mapping[str, Any]) -> go.Figure:
    """Accuracy level by level: the parents' ensemble, fed with merged features, fed with the fused network's. All start
    at the input, where nothing is lost."""
    levels = ["input", *distinct((level["name"] for level in budget["levels"]), 20)]
    ensemble = 100 * budget["ensemble"]["accuracy"]

    def values(part: str) -> list[float]:
        return [ensemble, *(100 * level[part]["accuracy"] for level in budget["levels"])]

    chart = figure(380)
    lines = (
        ("Ensemble", [ensemble] * len(levels), ROLES["ensemble"], "triangle-up", None, "dot"),
        ("Merged features", values("grouped"), _ORANGE, "square", "rgba(230,159,0,0.16)", "solid"),
        ("Fused features", values("fused"), ROLES["fused"], "diamond", "rgba(0,114,178,0.12)", "solid"),
    )
    for name, heights, colour, symbol, fill, dash in lines:
        chart.add_scatter(
            x=[escaped(v) for v in levels], y=heights, name=name, mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 10, "color": colour},
            fill=None if fill is None else "tonexty", fillcolor=fill,
            hovertemplate=f"after %{{x}}<br>{name}: %{{y:.2f}} %<extra></extra>",
        )
    chart.update_xaxes(title_text="After level", type="category", showgrid=False)
    return chart.update_yaxes(title_text="Accuracy", ticksuffix=" %")


def path_chart(pair: Mapping[str, Any], quantity: str) -> go.Figure:
    """Loss or accuracy on the straight line between two networks, before and after alignment. The legend says how high
    the barriers are."""
    chart = figure(380)
    is_loss = quantity == "loss"
    seen: list[float] = []
    for way, name, colour, symbol, dash in _WAYS:
        path = pair[way]
        values = path["loss"] if is_loss else [100 * a for a in path["accuracy"]]
        seen += values
        barrier = f"{path['barrier']:.2f}" if is_loss else f"{100 * path['error_barrier']:.1f} points"
        chart.add_scatter(
            x=path["alphas"], y=values, name=f"{name}, barrier {barrier}", mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 9, "color": colour},
            hovertemplate=f"{name}, %{{x:.0%}} of the way: %{{y:.3f}}{'' if is_loss else ' %'}<extra></extra>",
        )
        _barrier(chart, path["alphas"], values, colour, is_loss)
    first = pair["as_is"]
    ends = [first["loss"][i] if is_loss else 100 * first["accuracy"][i] for i in (0, -1)]
    chart.add_scatter(
        x=[0, 1], y=ends, mode="lines", name="Straight line", line={"color": MUTED, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    chart.update_xaxes(
        tickvals=[0, 0.25, 0.5, 0.75, 1], range=[-0.04, 1.04],
        ticktext=[escaped(distinct([pair["first"]], 18)[0]), "¼", "half-way", "¾",
                  escaped(distinct([pair["second"]], 18)[0])],
    )
    room = max(0.06 * (max(seen) - min(seen)), 0.01)
    if is_loss:
        return chart.update_yaxes(title_text="Loss (cross entropy, nats)", range=[0, max(seen) + room])
    return chart.update_yaxes(title_text="Accuracy", ticksuffix=" %", range=[min(seen) - room, max(seen) + room])


def _barrier(chart: go.Figure, alphas: Sequence[float], values: Sequence[float], colour: str, is_loss: bool) -> None:
    """A vertical line from the line between the ends to the curve where that is furthest on the bad side."""
    sign = 1 if is_loss else -1
    line = [(1 - a) * values[0] + a * values[-1] for a in alphas]
    heights = [sign * (v - w) for v, w in zip(values, line, strict=True)]
    at = max(range(len(heights)), key=heights.__getitem__)
    spread = max(values) - min(values)
    if heights[at] < 0.03 * spread or heights[at] <= 1e-9:
        return
    chart.add_scatter(
        x=[alphas[at], alphas[at]], y=[line[at], values[at]], mode="lines", showlegend=False, hoverinfo="skip",
        line={"color": colour, "width": 1.5, "dash": "dot"},
    )


def _row_height(usual: int, rows: int) -> int:
    """Pixels a row, less where there are many: a line of text still fits."""
    return max(20, min(usual, 1200 // max(rows, 1)))


def level_bars(pair: Mapping[str, Any], part: str) -> go.Figure:
    """Points of accuracy that averaging costs, one pair of bars a level. part: 'single' or 'cumulative'."""
    names = distinct((level["name"] for level in pair["as_is"]["levels"]), 20)
    chart = figure(110 + len(names) * _row_height(42, len(names)), barmode="group", bargap=0.3)
    for way, name, colour, _, dash in _WAYS:
        values = [100 * level[part]["error_barrier"] for level in pair[way]["levels"]]
        chart.add_bar(
            x=values, y=[escaped(n) for n in names], name=name, orientation="h",
            marker={"color": colour, "pattern": hatched("/" if dash == "dash" else "")},
            hovertemplate=f"%{{y}}, {name.lower()}: %{{x:.2f}} points<extra></extra>",
        )
    chart.update_xaxes(title_text="Points of accuracy lost", zeroline=True, zerolinecolor=MUTED)
    return chart.update_yaxes(autorange="reversed", showgrid=False, type="category")


def similarity_heatmap(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> go.Figure:
    """Similarity of pairs (columns) in spaces (rows), 0 to 1; numbers in the cells while there is room for them."""
    chart = figure(84 + len(rows) * _row_height(30, len(rows)), legend=False)
    add_cells(
        chart, [list(row) for row in values], [escaped(c) for c in columns], [escaped(r) for r in distinct(rows, 26)],
        SEQUENTIAL, 1, 2 if len(columns) <= 12 else None,
        colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"size": 12, "color": MUTED}},
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    )
    return chart.update_xaxes(side="top", tickfont={"color": INK}, tickangle=0 if len(columns) <= 12 else -90)

