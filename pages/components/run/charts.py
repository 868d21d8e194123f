"""Charts of results: accuracies, classes, seconds. Pure functions from plain data to figures."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ..shared.text import escaped, percent, seconds
from ..shared.theme import FAINT, INK, MUTED, PARENTS, ROLES, add_cells, figure, hatched
from .reports import Model, interval_text

_STAGE_COLOURS = {
    "load": "#8A95A2", "trace": MUTED, "verify": "#37424E", "importance": "#56B4E9", "grouping": "#E69F00",
    "solve": "#0072B2", "post": "#CC79A7", "evaluate": "#009E73",
}

ACCURACIES = ((0.0, "#FBE3D6"), (0.5, "#EEF3F7"), (0.8, "#9CCBE6"), (1.0, "#0072B2"))


def accuracy_bars(models: Sequence[Model]) -> go.Figure:
    """Horizontal bars from 0 to 100 %, the fused model last and strongest; lines across their ends are intervals."""
    shown = [m for m in models if m.accuracy is not None]
    chart = figure(62 + 40 * len(shown), legend=False, bargap=0.3)
    chart.add_bar(
        x=[100 * (m.accuracy or 0) for m in shown], y=[escaped(m.label) for m in shown], orientation="h",
        marker={"color": [ROLES[m.role] for m in shown]}, error_x=_whiskers(shown),
        customdata=[interval_text(m.interval) for m in shown],
        hovertemplate="%{y}: %{x:.2f} %%{customdata}<extra></extra>",
    )
    chart.add_scatter(  # beyond the intervals
        x=[100 * (m.interval[1] if m.interval else m.accuracy or 0) for m in shown],
        y=[escaped(m.label) for m in shown],
        text=[f"  <b>{percent(m.accuracy)}</b>" if m.role == "fused" else f"  {percent(m.accuracy)}" for m in shown],
        mode="text", textposition="middle right", cliponaxis=False, hoverinfo="skip",
    )
    chart.update_xaxes(range=[0, 112], tickvals=[0, 25, 50, 75, 100], ticksuffix=" %", showline=False)
    return chart.update_yaxes(autorange="reversed", showgrid=False, showline=False)


def _whiskers(shown: Sequence[Model]) -> dict[str, object] | None:
    """Error bars from the ends of the models' intervals; None where there are none."""
    if not any(m.interval for m in shown):
        return None
    pairs = [(100 * (m.accuracy or 0), m.interval or (m.accuracy or 0, m.accuracy or 0)) for m in shown]
    return {
        "type": "data", "symmetric": False, "array": [100 * high - at for at, (_, high) in pairs],
        "arrayminus": [at - 100 * low for at, (low, _) in pairs], "color": INK, "thickness": 1.2, "width": 4,
    }


def accuracy_dots(rows: Mapping[str, Sequence[Model]]) -> go.Figure:
    """One line of dots a run: parents, average, ensembles and the fused model on a common accuracy axis."""
    chart = figure(96 + 46 * len(rows))
    found = [m.accuracy for models in rows.values() for m in models if m.accuracy is not None]
    kinds = (  # what the legend calls it, its role, the one model it means, its symbol and size
        ("Parents", "parent", "", "circle-open", 11), ("Plain average", "average", "", "x-thin-open", 10),
        ("Ensemble, logits", "ensemble", "Ensemble, logits", "triangle-up-open", 11),
        ("Ensemble, softmax", "ensemble", "Ensemble, softmax", "triangle-up", 11),
        ("Ensemble, by head", "ensemble", "Ensemble, by head", "triangle-down-open", 11),
        ("Fused", "fused", "", "diamond", 14),
    )
    for name, role, only, symbol, size in kinds:
        points = [
            (m, run) for run, models in rows.items() for m in models
            if m.accuracy is not None and m.role == role and only in ("", m.label)
        ]
        chart.add_scatter(
            x=[100 * (m.accuracy or 0) for m, _ in points], y=[escaped(run) for _, run in points], name=name,
            mode="markers", error_x=_whiskers([m for m, _ in points]) if role == "fused" else None,
            marker={"symbol": symbol, "size": size, "color": ROLES[role], "line": {"width": 2, "color": ROLES[role]}},
            customdata=[escaped(m.label) + interval_text(m.interval) for m, _ in points],
            hovertemplate="%{customdata}: %{x:.2f} %<extra></extra>",
        )
    low = 100 * min(found, default=0.0)
    chart.update_xaxes(range=[max(0, low - 4), 101.5], ticksuffix=" %", title_text="Accuracy on the test data")
    return chart.update_yaxes(autorange="reversed", showgrid=True, type="category", range=[len(rows) - 0.5, -0.5])


def class_heatmap(models: Sequence[Model]) -> go.Figure:
    """Accuracy per class, one row a model; numbers in the cells while there is room for them."""
    rows = [m for m in models if m.per_class]
    classes = max((len(m.per_class or []) for m in rows), default=0)
    values = [[None if v is None else 100 * v for v in m.per_class or []] for m in rows]
    chart = figure(70 + 36 * len(rows), legend=False)
    add_cells(
        chart, values, [str(c) for c in range(classes)], [escaped(m.label) for m in rows], ACCURACIES, 100,
        0 if classes <= 20 else None,
        colorbar={"ticksuffix": " %", "thickness": 10, "outlinewidth": 0, "tickfont": {"size": 12, "color": MUTED}},
        customdata=[[interval_text(i, 0) for i in m.class_intervals] or [""] * classes for m in rows],
        hovertemplate="%{y}, class %{x}: %{z:.1f} %%{customdata}<extra></extra>",
    )
    return chart.update_xaxes(title_text="Class")


def stage_bars(rows: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Seconds of each stage, stacked, one bar a run."""
    chart = figure(140 + 44 * len(rows), barmode="stack")
    for stage, colour in _STAGE_COLOURS.items():
        spent = [stages.get(stage, 0.0) for stages in rows.values()]
        if any(spent):
            chart.add_bar(
                x=spent, y=[escaped(r) for r in rows], orientation="h", name=stage, marker={"color": colour},
                customdata=[seconds(s) for s in spent], hovertemplate=f"{stage}: %{{customdata}}<extra></extra>",
            )
    chart.update_xaxes(title_text="Seconds")
    return chart.update_yaxes(autorange="reversed", showgrid=False, type="category")


def width_curve(fused: Mapping[str, tuple[int, float]], parents: Sequence[tuple[int, float]]) -> go.Figure:
    """Accuracy against parameters: the fused networks of several widths, and the parents they were made of."""
    chart = figure(320)
    points = sorted(((size, accuracy, name) for name, (size, accuracy) in fused.items()))
    chart.add_scatter(
        x=[p[0] for p in parents], y=[100 * p[1] for p in parents], name="Parents", mode="markers",
        marker={"symbol": "circle-open", "size": 11, "color": ROLES["parent"], "line": {"width": 2}},
        hovertemplate="a parent, %{x:,} parameters: %{y:.2f} %<extra></extra>",
    )
    chart.add_scatter(
        x=[p[0] for p in points], y=[100 * p[1] for p in points], name="Fused", mode="lines+markers",
        line={"color": FAINT, "width": 1.5},
        marker={"symbol": "diamond", "size": 14, "color": ROLES["fused"]}, customdata=[escaped(p[2]) for p in points],
        hovertemplate="%{customdata}, %{x:,} parameters: %{y:.2f} %<extra></extra>",
    )
    sizes = [p[0] for p in [*points, *parents]]
    marks = [m * 10**e for e in range(1, 12) for m in (1, 2, 5) if min(sizes) / 2.2 < m * 10**e < max(sizes) * 2.2]
    chart.update_xaxes(title_text="Parameters", type="log", tickvals=marks, ticktext=[_short_number(m) for m in marks])
    return chart.update_yaxes(title_text="Accuracy on the test data", ticksuffix=" %")


def _short_number(value: int) -> str:
    """20000 -> '20 k', 5000000 -> '5 M'."""
    for step, sign in ((10**9, "\u202fG"), (10**6, "\u202fM"), (10**3, "\u202fk")):
        if value >= step:
            return f"{value // step}{sign}"
    return str(value)


def class_counts(names: Sequence[str], counts: Sequence[Sequence[int]]) -> go.Figure:
    """How many training samples of each class each parent has seen: one stacked bar a class."""
    chart = figure(300, barmode="stack", bargap=0.25)
    for number, (name, values) in enumerate(zip(names, counts, strict=True)):
        chart.add_bar(
            x=[str(c) for c in range(len(values))], y=list(values), name=escaped(name),
            marker={"color": PARENTS[number % 8], "pattern": hatched(("", *"/.x-|+\\")[number % 8])},
            hovertemplate=f"{escaped(name)}, class %{{x}}: %{{y}} samples<extra></extra>",
        )
    chart.update_xaxes(title_text="Class", type="category", showgrid=False)
    return chart.update_yaxes(title_text="Training samples")
