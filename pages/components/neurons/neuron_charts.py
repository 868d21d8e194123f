"""Charts of the importance of one space's neurons. Pure functions from arrays to figures."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from fusion_engine.core.neurons import Neuron, written

from ..shared.text import escaped
from ..shared.theme import INK, PARENTS, SYMBOLS, figure, scatter


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
            hovertemplate=f"{escaped(name)}:%{{customdata[0]}}<br>rank %{{x}}: %{{y:.3g}}<extra></extra>",
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
    labels = [written(Neuron(int(parent[i]), int(neuron[i])), names) for i in best]
    for number, name in enumerate(names):
        mine = [k for k, i in enumerate(best) if parent[i] == number]
        chart.add_bar(
            x=[escaped(labels[k]) for k in mine], y=[importance[best[k]] for k in mine], name=escaped(name),
            marker={"color": PARENTS[number % 8]},
            hovertemplate="%{x}: %{y:.3g}<extra></extra>",
        )
    chart.update_xaxes(
        title_text=f"The {len(best)} most important neurons", type="category", categoryorder="array",
        categoryarray=[escaped(label) for label in labels], showgrid=False, tickangle=-45 if len(best) > 8 else 0,
    )
    return chart.update_yaxes(title_text="Importance", exponentformat="power")
