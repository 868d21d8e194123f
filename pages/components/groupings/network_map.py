"""The network as a map: a column or more for each level, a cell for each space, coloured by what one wants to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ..plane.colouring import SCALE
from ..shared import state
from ..shared.tables import table
from ..shared.text import count, escaped, percent, short
from ..shared.theme import MUTED, ON_DARK, ON_LIGHT, VERMILION, clicked, figure, show

_CHART = "network-map"
_ROWS, _CELL = 4, 30  # cells in a column at most; pixels of one
_FEWEST, _NAMED = 8, 14  # columns there is room for; columns whose cells can hold a name
MEASURES = {
    "cost": "Variance lost, weighed by importance", "error": "Variance lost by merging",
    "mixed": "Groups that mix parents", "single": "Groups of one neuron",
    "concentration": "Importance of the top tenth",
}
"""Shares of one; the last is the part of the importance that the most important tenth of the neurons holds."""


@dataclass(frozen=True)
class Cell:
    """Where a space is in the map. column, row: from 0, the first row at the top. level: None if it is not known."""

    name: str
    level: int | None
    column: int
    row: int


def cells(spaces: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """Level after level, spaces of one level below each other, in further columns where there are many."""
    levels: dict[int | None, list[Mapping[str, Any]]] = {}
    for space in sorted(spaces, key=lambda s: (s["level"] is None, s["level"] or 0, s["index"])):
        levels.setdefault(space["level"], []).append(space)
    found, column = [], 0
    for level, held in levels.items():
        for place, space in enumerate(held):
            found.append(Cell(space["name"], level, column + place // _ROWS, place % _ROWS))
        column += -(-len(held) // _ROWS)
    return found


def value(space: Mapping[str, Any], measure: str) -> float | None:
    """A measure of a space, as a share of one; None where the run does not keep it."""
    if measure == "error":
        return float(space["error"])
    judged = space.get("verdict")
    if judged is None or measure not in judged:
        return None
    share = float(judged[measure])
    return share / max(judged["groups"] - judged["empty"], 1) if measure in ("mixed", "single") else share


def draw(result: Mapping[str, Any], chosen: str) -> None:
    """The map; a click opens a space. chosen: the space that is open."""
    spaces = {space["name"]: space for space in result["spaces"]}
    if len(spaces) < 2:
        return
    measures = [m for m in MEASURES if all(value(space, m) is not None for space in spaces.values())]
    measure = state.choice("map", measures)
    placed = cells(result["spaces"])
    values = [100 * (value(spaces[cell.name], measure) or 0.0) for cell in placed]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.selectbox(
            "Colour the map by", measures, format_func=lambda name: f"Map: {MEASURES[name]}", width=380,
            label_visibility="collapsed", **state.bound("map", "network-map-by", measure),
        )
        with st.popover("As a table", icon=":material/table:"):
            _table(result, measures)
    levels = {level["index"]: level["name"] for level in result["levels"]}
    chart = picture(placed, values, chosen, levels, spaces)
    alt = (
        f"{count(len(placed), 'space')} of the network by level, coloured by {MEASURES[measure].lower()}; the list of "
        "spaces and the table say the same"
    )
    show(chart, alt, _CHART, on_select=lambda: _open(placed), selection_mode="points")


def picture(
    placed: Sequence[Cell], values: Sequence[float], chosen: str, levels: Mapping[int, str],
    spaces: Mapping[str, Mapping[str, Any]],
) -> go.Figure:
    """values: per cent, one a cell. Customdata carries the cell's number, for clicks."""
    columns = max(cell.column for cell in placed) + 1
    rows = max(cell.row for cell in placed) + 1
    chart = figure(
        rows * _CELL + 46, legend=False, margin={"l": 4, "r": 4, "t": 4, "b": 22}, dragmode=False, barmode="overlay",
        bargap=0,
    )
    high = max([*values, 1e-9])
    still = {"marker": {"opacity": 1}}
    named = columns <= _NAMED
    letters = int(120 / max(columns, _FEWEST))
    chart.add_bar(
        x=[cell.column for cell in placed], base=[-cell.row - 0.92 for cell in placed], y=[0.84] * len(placed),
        width=0.92, customdata=[[n, _hover(spaces[c.name], levels, v)] for n, (c, v) in
                                enumerate(zip(placed, values, strict=True))],
        hovertemplate="%{customdata[1]}<extra></extra>", selected=still, unselected=still,
        text=[f"{escaped(short(cell.name, max(4, letters)))} · {v:.0f} %" if named else ""
              for cell, v in zip(placed, values, strict=True)], textangle=0,
        textposition="inside", insidetextanchor="middle", constraintext="none",
        insidetextfont={"size": 12, "color": [ON_DARK if v < 0.55 * high else ON_LIGHT for v in values]},
        marker={
            "color": list(values), "colorscale": list(SCALE), "cmin": 0, "cmax": high, "cornerradius": 4, "opacity": 1,
            "line": {"color": [VERMILION if cell.name == chosen else "rgba(0,0,0,0)" for cell in placed], "width": 3},
            "colorbar": {"ticksuffix": " %", "thickness": 10, "len": 1.0, "nticks": 4, "tickfont": {"size": 12},
                         "outlinewidth": 0},
            "showscale": not named,  # where they have no room, numbers are told by a scale
        },
    )
    firsts = {cell.level: cell.column for cell in reversed(placed)}
    every = -(-len(firsts) // 30)
    ticks = [(column, "–" if level is None else str(level)) for level, column in firsts.items()][::-1][::every]
    chart.update_xaxes(
        range=[-0.5, max(columns, _FEWEST) - 0.5], tickvals=[t[0] for t in ticks], ticktext=[t[1] for t in ticks],
        showgrid=False, zeroline=False, tickfont={"size": 12, "color": MUTED}, fixedrange=True, automargin=False,
    )
    chart.update_yaxes(visible=False, range=[-rows, 0], fixedrange=True)
    return chart


def _hover(space: Mapping[str, Any], levels: Mapping[int, str], shown: float) -> str:
    level = space["level"]
    where = "" if level is None else f" · level {level}, {escaped(short(levels.get(level, ''), 40))}"
    return (
        f"<b>{escaped(short(space['name'], 60))}</b>{where}<br>{count(sum(space['sizes']), 'neuron')} in "
        f"{count(space['size'], 'group')}<br>{shown:.1f} %"
    )


def _table(result: Mapping[str, Any], measures: Sequence[str]) -> None:
    table(
        [
            {"Level": "–" if s["level"] is None else str(s["level"]), "Space": s["name"], "Groups": s["size"],
             **{MEASURES[m]: percent(value(s, m)) for m in measures}} for s in result["spaces"]
        ],
        alt="Spaces with what is lost, how many groups mix parents or hold one neuron, and how importance is spread",
    )


def _open(placed: Sequence[Cell]) -> None:
    number = clicked(_CHART)
    if number is not None and number < len(placed):
        state.put(space=placed[number].name)
