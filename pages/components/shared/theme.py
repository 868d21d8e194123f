"""How charts look: Okabe-Ito colours, a symbol for every parent, one layout, one configuration."""

from typing import Any

import pandas  # noqa: F401 - Plotly looks for it half-way through an import in another session's thread, and fails
import plotly.graph_objects as go
import streamlit as st

# Okabe and Ito's palette: told apart with any colour vision. Yellow comes last, being faint on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW = "#56B4E9", "#D55E00", "#F0E442"
INK, MUTED, FAINT, GRID = "#1F2A37", "#5B6775", "#C9D1DA", "#E8ECF1"
ON_LIGHT, ON_DARK = "#1E2936", "#FFFFFF"  # writing on filled cells, the same in light and dark
# What stands for these colours, which are made for white, where the reader prefers a dark page.
_DARK = {
    INK: "#E6EAF0", MUTED: "#A3AEBB", FAINT: "#4A5563", GRID: "#2A3340", "white": "#12161C", "#000000": "#FFFFFF",
    "#DDE3EA": "#3A4552", "#EEF2F6": "#232B36", "#F8FAFB": "#1A2029", "#EDF5FA": "#1C2C3A", "#DCEBF6": "#1F3D55",
    "#B4BECA": "#6B7785",
}

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
            "orientation": "h", "traceorder": "normal", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13},
        },
        "font": {"family": FONT, "size": 14, "color": INK}, "paper_bgcolor": _CLEAR, "plot_bgcolor": _CLEAR,
        "hoverlabel": {"bgcolor": "white", "bordercolor": FAINT, "font": {"family": FONT, "size": 13, "color": INK}},
        "modebar": {"bgcolor": _CLEAR, "color": MUTED, "activecolor": INK, "orientation": "v"}, "bargap": 0.35,
    }
    # Made in one go: update_layout costs ten times as much, and every chart of a page comes through here.
    chart = go.Figure(layout=base)
    return chart.update_layout(layout) if layout else chart


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
    if st.context.theme.type == "dark":
        chart = go.Figure(_darkened(chart.to_plotly_json()))
    config = _CONFIG | {"staticPlot": live}
    return st.plotly_chart(chart, theme=None, config=config, alt=alt, key=key, width="stretch", **options)


def _darkened(part: Any) -> Any:
    """A chart's parts with the colours of a dark page."""
    if isinstance(part, dict):
        return {name: _darkened(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_darkened(value) for value in part]
    return _DARK.get(part, part) if isinstance(part, str) else part


def clicked(key: str) -> int | None:
    """The number that a clicked point of the chart `key` carries as its customdata's first; None if it carries none."""
    carried = (point.get("customdata") for point in st.session_state[key]["selection"]["points"])
    return next((int(data[0]) for data in carried if data and data[0] is not None), None)
