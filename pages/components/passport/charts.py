"""Charts of one neuron. Pure functions from arrays to figures."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ..shared.text import escaped
from ..shared.theme import BLUE, FAINT, INK, MUTED, ORANGE, figure, hatched, scatter

_MOST = 24  # classes side by side


def shown_classes(mean: np.ndarray) -> np.ndarray:
    """The classes that fit beside each other: all that have samples, or those with the largest means, in order."""
    there = np.flatnonzero(~np.isnan(mean))
    return np.sort(there[np.argsort(-mean[there], kind="stable")[:_MOST]])


def by_class(mean: np.ndarray, quantiles: np.ndarray, preferred: int, labelled: bool) -> go.Figure:
    """A box a class: middle half, median, and lines from 5 to 95 %; the preferred class is filled and hatched."""
    chart = figure(250, legend=False)
    for label in shown_classes(mean):
        q05, q25, q50, q75, q95 = (float(q) for q in quantiles[label])
        best = labelled and label == preferred
        chart.add_trace(go.Box(
            x=[str(label) if labelled else "all samples"], lowerfence=[q05], q1=[q25], median=[q50], q3=[q75],
            upperfence=[q95], mean=[float(mean[label])], name=f"class {label}", width=0.6, boxpoints=False,
            fillcolor=ORANGE if best else "rgba(0,114,178,.16)",
            line={"color": INK if best else BLUE, "width": 1.6 if best else 1.2},
        ))  # fmt: skip
    chart.update_xaxes(title_text="Class" if labelled else None, type="category", showgrid=False)
    return chart.update_yaxes(title_text="Largest pre-activation")


def beside_fused(own: np.ndarray, fused: np.ndarray, labels: np.ndarray, name: str) -> go.Figure:
    """What the neuron and the fused neuron of its group answer to every sample."""
    chart = figure(250, legend=False)
    chart.add_trace(scatter(len(own))(
        x=own, y=fused, mode="markers", marker={"size": 5, "color": BLUE, "opacity": 0.6},
        customdata=np.stack([np.arange(len(own)), labels], 1).tolist(),
        hovertemplate="sample %{customdata[0]}, class %{customdata[1]}<br>%{x:.3g} and %{y:.3g}<extra></extra>",
    ))
    chart.update_xaxes(title_text=escaped(name), zeroline=True)
    return chart.update_yaxes(title_text="Fused neuron", zeroline=True)


def without(before: Sequence[float | None], after: Sequence[float | None], name: str) -> go.Figure:
    """Change of accuracy by class, in points, when the neuron is silenced."""
    classes = [i for i, (b, a) in enumerate(zip(before, after, strict=True)) if b is not None and a is not None]
    change = [100 * (float(after[i] or 0.0) - float(before[i] or 0.0)) for i in classes]
    order = sorted(range(len(classes)), key=lambda k: change[k])[:_MOST]
    order.sort()
    chart = figure(190, legend=False)
    chart.add_bar(
        x=[str(classes[k]) for k in order], y=[change[k] for k in order], name=escaped(name),
        marker={"color": [ORANGE if change[k] < 0 else BLUE for k in order],
                "pattern": hatched("/") | {"shape": ["/" if change[k] < 0 else "" for k in order]}},
        hovertemplate="class %{x}: %{y:+.1f} points<extra></extra>",
    )  # fmt: skip
    chart.add_hline(y=0, line={"color": MUTED, "width": 1})
    chart.update_xaxes(title_text="Class", type="category", showgrid=False, linecolor=FAINT)
    return chart.update_yaxes(title_text="Points of accuracy")
