"""Charts of one space: importance by parent, and its neurons in the plane. Pure functions from arrays to figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..shared.text import escaped
from ..shared.theme import FAINT, GROUPS, INK, MUTED, PARENTS, SYMBOLS, figure, scatter

_REST = "#B4BECA"


def importance_curves(arrays: Mapping[str, np.ndarray], names: Sequence[str], selected: int | None = None) -> go.Figure:
    """Each parent's importances in falling order: a steep curve means few neurons matter."""
    importance, parent, neuron = arrays["importance"], arrays["parent"], arrays["neuron"]
    chart = figure(300)
    kind = scatter(len(importance))
    for number, name in enumerate(names):
        mine = np.flatnonzero(parent == number)
        order = mine[np.argsort(-importance[mine], kind="stable")]
        chart.add_trace(kind(
            x=np.arange(1, len(order) + 1), y=importance[order], name=escaped(name), mode="lines+markers",
            line={"color": PARENTS[number % 8], "width": 1.5},
            marker={"symbol": SYMBOLS[number % 8], "size": 5, "color": PARENTS[number % 8]},
            customdata=neuron[order, None].tolist(),
            hovertemplate=f"{escaped(name)}, neuron %{{customdata[0]}}<br>rank %{{x}}: %{{y:.3g}}<extra></extra>",
        ))
        if selected is not None and selected in order:
            rank = int(np.flatnonzero(order == selected)[0]) + 1
            chart.add_scatter(
                x=[rank], y=[importance[selected]], mode="markers", showlegend=False, hoverinfo="skip",
                marker={"symbol": "circle-open", "size": 15, "color": INK, "line": {"width": 2}},
            )
    chart.update_xaxes(title_text="Rank within the parent")
    return chart.update_yaxes(title_text="Importance", rangemode="tozero", exponentformat="power")


def importance_bars(arrays: Mapping[str, np.ndarray], names: Sequence[str], top: int = 12) -> go.Figure:
    """The most important neurons over all parents, as bars."""
    importance, parent, neuron = arrays["importance"], arrays["parent"], arrays["neuron"]
    best = np.argsort(-importance, kind="stable")[:top]
    chart = figure(300, barmode="overlay", bargap=0.25)
    labels = [f"{parent[i] + 1}·{neuron[i]}" for i in best]
    for number, name in enumerate(names):
        mine = [k for k, i in enumerate(best) if parent[i] == number]
        chart.add_bar(
            x=[labels[k] for k in mine], y=[importance[best[k]] for k in mine], name=escaped(name),
            marker={"color": PARENTS[number % 8]},
            hovertemplate=f"{escaped(name)}, neuron %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    chart.update_xaxes(
        title_text=f"The {len(best)} most important neurons (parent·neuron)", type="category", categoryorder="array",
        categoryarray=labels, showgrid=False, tickangle=-45 if len(best) > 8 else 0,
    )
    return chart.update_yaxes(title_text="Importance", exponentformat="power")


def group_colours(group_importance: np.ndarray) -> dict[int, str]:
    """A colour for each of the seven most important groups; the others share a grey."""
    return dict(zip(np.argsort(-group_importance, kind="stable").tolist(), GROUPS, strict=False))


def neuron_plane(
    points: np.ndarray, index: np.ndarray, arrays: Mapping[str, np.ndarray], names: Sequence[str],
    axes: tuple[str, str], selected: int | None = None, group: int | None = None,
) -> go.Figure:
    """Neurons in the plane: colour tells the group, symbol the parent, a thin line joins a group's members.

    points (m, 2) coordinates; index (m,) which neuron of `arrays` each is. A chosen `group` keeps its colour
    and greys the others; the `selected` neuron gets a ring.
    """
    groups, parent, importance = arrays["group"][index], arrays["parent"][index], arrays["importance"][index]
    colours = group_colours(arrays["group_importance"])
    if group is not None:
        colours = {group: colours.get(group, GROUPS[0])}
    chart = figure(540)
    chart.add_trace(_links(points, groups))
    kind = scatter(len(points))
    scale = np.sqrt(importance / max(float(importance.max()), 1e-12)) if len(importance) else importance
    for number, name in enumerate(names):
        mine = np.flatnonzero(parent == number)
        chart.add_trace(kind(
            x=points[mine, 0], y=points[mine, 1], mode="markers", name=escaped(name),
            marker={
                "symbol": SYMBOLS[number % 8], "size": 7 + 7 * scale[mine], "opacity": 0.92,
                "color": [colours.get(int(g), _REST) for g in groups[mine]], "line": {"width": 1, "color": "white"},
            },
            customdata=np.stack([index[mine], arrays["neuron"][index[mine]], groups[mine]], 1).tolist(),
            hovertemplate=f"<b>{escaped(name)}, neuron %{{customdata[1]}}</b><br>group %{{customdata[2]}}"
            "<extra></extra>",
            selected={"marker": {"opacity": 0.92}}, unselected={"marker": {"opacity": 0.92}},
        ))
    others = len(arrays["group_importance"]) - len(colours)
    legend = {f"group {number}": colour for number, colour in colours.items()}
    for name, colour in (legend | ({f"{others} other groups": _REST} if others > 0 else {})).items():
        line = {"color": colour, "width": 7}
        chart.add_scatter(x=[None], y=[None], mode="lines", name=name, hoverinfo="skip", line=line)
    if selected is not None and selected in index:
        place = points[int(np.flatnonzero(index == selected)[0])]
        chart.add_scatter(
            x=[place[0]], y=[place[1]], mode="markers", showlegend=False, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 22, "color": INK, "line": {"width": 2.5}},
        )
    chart.update_xaxes(title_text=axes[0], showticklabels=False)
    chart.update_yaxes(title_text=axes[1], showticklabels=False)
    # The same `uirevision` keeps the reader's zoom while a click only changes the ring.
    return chart.update_layout(
        legend={"itemsizing": "constant", "font": {"size": 12, "color": MUTED}, "entrywidth": 92},
        legend_entrywidthmode="pixels", clickmode="event+select", dragmode="pan", uirevision="plane",
    )


def _links(points: np.ndarray, groups: np.ndarray) -> Any:
    """Lines from each neuron to the centre of its group, as one trace with gaps."""
    lines: list[tuple[float | None, float | None]] = []
    for group in np.unique(groups[groups >= 0]):
        members = points[groups == group]
        if len(members) > 1:
            centre = tuple(members.mean(0).tolist())
            lines += [place for member in members.tolist() for place in (centre, tuple(member), (None, None))]
    return scatter(len(lines))(
        x=[x for x, _ in lines], y=[y for _, y in lines], mode="lines", line={"color": FAINT, "width": 1},
        hoverinfo="skip", showlegend=False,
    )
