"""How charts look: Okabe-Ito colours, a symbol for every parent, one layout, one configuration."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pandas  # noqa: F401 - Plotly looks for it half-way through an import in another session's thread, and fails
import plotly.graph_objects as go
import streamlit as st

from . import state

# Okabe and Ito's palette: told apart with any colour vision. Yellow comes last, being faint on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW = "#56B4E9", "#D55E00", "#F0E442"
INK, MUTED, FAINT, GRID = "#1F2A37", "#5B6775", "#C9D1DA", "#E8ECF1"
# Writing on filled cells, the same in light and dark. On every colour one of the two has a contrast of 4.5 to 1.
ON_LIGHT, ON_DARK = "#030508", "#FFFFFF"
# What stands for these colours, which are made for white, where the reader prefers a dark page.
_DARK = {
    INK: "#E6EAF0", MUTED: "#A3AEBB", FAINT: "#4A5563", GRID: "#2A3340", "white": "#12161C", "#000000": "#FFFFFF",
    "#DDE3EA": "#3A4552", "#EEF2F6": "#232B36", "#F8FAFB": "#1A2029", "#EDF5FA": "#1C2C3A", "#DCEBF6": "#1F3D55",
    "#B4BECA": "#6B7785", "#8A95A2": "#5F6B79", "#37424E": "#D5DCE4",
}
_COLOUR = re.compile(r"(?<=color:)#[0-9A-Fa-f]{6}")

PARENTS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, "#000000")
GROUPS = PARENTS[:7]
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
ROLES = {"parent": SKY, "average": MUTED, "fused": BLUE, "ensemble": GREEN}

SVG_LIMIT = 2000
FONT = '"Source Sans", "Source Sans Pro", sans-serif'
_CONFIG = {
    "displaylogo": False, "displayModeBar": "hover", "responsive": True, "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}
_CLEAR = "rgba(0,0,0,0)"
_BAR, _COLOURS = 34, 100  # room at the right for the chart's buttons, and for a colour bar beside them
_NARROW, _LETTER, _SIGN, _LINE = 400, 7, 50, 19  # pixels: a narrow chart; of its legend a letter, a sign, a line


def figure(height: int = 320, *, legend: bool = True, **layout: Any) -> go.Figure:
    """An empty figure in the app's style; `layout` overrides parts of it."""
    # Plotly hides labels that reach over the edge while it is resized, and puts a title beside no label at infinity.
    axis = {
        "gridcolor": GRID, "zerolinecolor": GRID, "linecolor": FAINT, "automargin": True, "ticklabelstandoff": 4,
        "title": {"font": {"size": 13, "color": MUTED}, "standoff": 10}, "ticklabeloverflow": "allow",
    }
    base: dict[str, Any] = {
        "height": height, "margin": {"l": 8, "r": _BAR, "t": 28 if legend else 8, "b": 8}, "showlegend": legend,
        "xaxis": axis, "yaxis": axis,
        "legend": {
            "orientation": "h", "traceorder": "normal", "x": 0, "y": 1, "yref": "container", "yanchor": "top",
            "font": {"size": 13},
        },
        "font": {"family": FONT, "size": 14, "color": INK}, "paper_bgcolor": _CLEAR, "plot_bgcolor": _CLEAR,
        "hoverlabel": {"bgcolor": "white", "bordercolor": FAINT, "font": {"family": FONT, "size": 13, "color": INK}},
        "modebar": {"bgcolor": _CLEAR, "color": MUTED, "activecolor": INK, "orientation": "v"}, "bargap": 0.35,
    }
    # Made in one go: update_layout costs ten times as much, and every chart of a page comes through here.
    chart = go.Figure(layout=base)
    return chart.update_layout(layout) if layout else chart


def contrast(first: str, second: str) -> float:
    """The contrast of two colours '#rrggbb', from 1 to 21 (WCAG 2.1)."""
    low, high = sorted(map(_luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def writing_on(colour: str) -> str:
    """The colour of what is written on `colour`."""
    return max(ON_LIGHT, ON_DARK, key=lambda ink: contrast(ink, colour))


def between(scale: Sequence[tuple[float, str]], share: float) -> str:
    """The colour of a scale at `share` in [0, 1], as Plotly mixes it."""
    share = min(max(share, scale[0][0]), scale[-1][0])
    (low, first), (high, second) = next((a, b) for a, b in pairwise(scale) if share <= b[0])
    part = (share - low) / (high - low)
    mixed = [round(int(first[i : i + 2], 16) * (1 - part) + int(second[i : i + 2], 16) * part) for i in (1, 3, 5)]
    return "#" + "".join(f"{value:02X}" for value in mixed)


def add_cells(
    chart: go.Figure, values: Sequence[Sequence[float | None]], columns: Sequence[str], rows: Sequence[str],
    scale: Sequence[tuple[float, str]], high: float, digits: int | None, **options: Any,
) -> None:
    """A heat map of values from 0 to `high`, the first row on top, with its numbers written in the cells; none if
    `digits` is None. Plotly writes all of them in one colour, or in a grey that does not show on every blue."""
    chart.add_heatmap(
        z=values, x=columns, y=rows, zmin=0, zmax=high, colorscale=[list(stop) for stop in scale], xgap=2, ygap=2,
        hoverongaps=False, **options,
    )
    if digits is not None:
        cells = [(c, r, v) for r, row in zip(rows, values, strict=True) for c, v in zip(columns, row, strict=False)
                 if v is not None]
        chart.add_scatter(
            x=[c for c, _, _ in cells], y=[r for _, r, _ in cells], text=[f"{v:.{digits}f}" for _, _, v in cells],
            mode="text", hoverinfo="skip", showlegend=False,
            textfont={"size": 13, "color": [writing_on(between(scale, v / high)) for _, _, v in cells]},
        )
    chart.update_xaxes(type="category", showgrid=False, showline=False, range=[-0.5, len(columns) - 0.5])
    chart.update_yaxes(type="category", showgrid=False, showline=False, range=[len(rows) - 0.5, -0.5])


def hatched(shape: str) -> dict[str, Any]:
    """The pattern of bars that are told apart by more than their colour; '' for none."""
    return {"shape": shape, "fillmode": "overlay", "fgcolor": "white", "size": 6, "solidity": 0.2}


def scatter(points: int) -> type[go.Scatter] | type[go.Scattergl]:
    """SVG for up to 2,000 points, which prints and zooms well; WebGL beyond."""
    return go.Scatter if points <= SVG_LIMIT else go.Scattergl


def show(chart: go.Figure, alt: str, key: str, live: bool = False, **options: Any) -> Any:
    """Draw a chart with its alternative text. Pages put a table or a selector with the same content beside it.

    live: it is drawn again and again. Streamlit replaces such a chart as a whole: a zoom would be lost, and a drag
    that outlives its chart is an error, so it does not react.
    """
    if any(getattr(trace, "showscale", None) is not False for trace in chart.select_traces({"type": "heatmap"})):
        chart.update_layout(margin={"r": _COLOURS})
    _make_room(chart)
    if st.context.theme.type == "dark":
        chart = go.Figure(_darkened(chart.to_plotly_json()))
    if state.presenting():
        height = chart.layout.height
        chart = go.Figure(_enlarged(chart.to_plotly_json())).update_layout(height=height and height + _LINE)
    config = _CONFIG | {"staticPlot": live}
    return st.plotly_chart(chart, theme=None, config=config, alt=alt, key=key, width="stretch", **options)


def _make_room(chart: go.Figure) -> None:
    """A legend of many or of long names makes its chart higher, not what it shows lower."""
    names = [str(t.name) for t in chart.data if t.name and t.showlegend is not False]
    if not chart.layout.showlegend or not names:
        return
    lines = math.ceil(len(names) / max(1, _NARROW // (_LETTER * max(map(len, names)) + _SIGN)))
    if lines > 2:
        chart.update_layout(
            height=chart.layout.height + _LINE * (lines - 2), legend={"maxheight": _LINE * (lines + 1)}
        )


def _darkened(part: Any) -> Any:
    """A chart's parts with the colours of a dark page."""
    if isinstance(part, dict):
        return {name: _darkened(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_darkened(value) for value in part]
    if not isinstance(part, str):
        return part
    return _DARK.get(part) or _COLOUR.sub(lambda found: _DARK.get(found[0], found[0]), part)


def _enlarged(part: Any, of_font: bool = False) -> Any:
    """A chart's parts with all writing a third larger, for a projector."""
    if isinstance(part, dict):
        return {
            name: round(value * 4 / 3) if of_font and name == "size" and isinstance(value, int | float)
            else _enlarged(value, name.endswith("font"))
            for name, value in part.items()
        }
    return [_enlarged(value) for value in part] if isinstance(part, list | tuple) else part


def clicked(key: str) -> int | None:
    """The number that a clicked point of the chart `key` carries as its customdata's first; None if it carries none."""
    carried = (point.get("customdata") for point in st.session_state[key]["selection"]["points"])
    return next((int(data[0]) for data in carried if data and data[0] is not None), None)
