"""The picture of a traced model: levels as boxes from input to output, spaces as bars beside the levels they span."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from ..shared.text import count, escaped, short
from ..shared.theme import BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION, figure, writing_on
from .level_rows import Row, numbered
from .space_bars import FREEDOM, SpaceBar, levels_of, space_bars

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
# Across, the picture is 1,000 units wide, a little more than a pixel each; down, a unit is a pixel.
_BOX, _FIRST_LANE, _WIDTH = 400, 432, 1000
_ROW, _GAP, _TOP = 46, 8, 34
_BAR, _HEADS = 9, 18
_LETTER = 6.6


def shape_text(shape: Sequence[int] | None) -> str:
    """One sample's shape: '16 × 32 × 32'."""
    return " × ".join(map(str, shape[1:])) if shape and len(shape) > 1 else "–"


def row_title(levels: Sequence[Mapping[str, Any]], row: Row) -> str:
    """'layers.0', or 'layers.0 … layers.3' for several."""
    first, last = levels[row.levels[0]]["name"], levels[row.levels[-1]]["name"]
    return first if len(row.levels) == 1 else f"{first} … {last}"


def _subtitle(levels: Sequence[Mapping[str, Any]], row: Row) -> str:
    if row.repeats:
        each = len(row.levels) // row.repeats
        times = f"{row.repeats} × {each} levels" if each > 1 else f"{row.repeats} levels"
        return f"<b>{times}</b> · click to unfold"
    if row.merged:
        return f"<b>{len(row.levels)} levels merged</b>"
    level = levels[row.levels[0]]
    start = level["name"] + "."
    names = [name.removeprefix(start) for name in level["layers"]]
    return escaped(short(", ".join(names), 40)) if names != [level["name"]] else ""


def parameters(levels: Sequence[Mapping[str, Any]], row: Row) -> int:
    return sum(levels[i].get("parameters", 0) for i in row.levels)


@dataclass(frozen=True)
class Painted:
    """What rows are filled with and say in place of their number of parameters; None leaves a box as it is."""

    colours: Sequence[str | None]
    texts: Sequence[str]


def model_picture(
    result: Mapping[str, Any], shown: Sequence[Row], chosen: Collection[int] = (), input_shape: Sequence[int] = (),
    painted: Painted | None = None,
) -> go.Figure:
    """The rows `shown` as boxes, the spaces beside them; `chosen` are the rows that stand out. painted: by a measure.

    The boxes' customdata carries the number of the row, for clicks.
    """
    bars = [bar for bar in space_bars(result, shown) if bar.lane is not None]
    pitch = min(200.0, (_WIDTH - _FIRST_LANE) / (1 + max((bar.lane or 0 for bar in bars), default=0)))
    places = [_FIRST_LANE + (bar.lane or 0) * pitch for bar in bars]
    bottom = _TOP + len(shown) * (_ROW + _GAP) - _GAP + _TOP
    chart = figure(bottom, legend=False, margin={"l": 0, "r": 0, "t": 0, "b": 0}, barmode="overlay", dragmode=False)
    chart.update_xaxes(range=[-6, _WIDTH], visible=False, fixedrange=True)
    chart.update_yaxes(range=[bottom, 0], visible=False, fixedrange=True)
    _add_flow(chart, len(shown), input_shape, bottom)
    wires = [(place, _wire(row)) for bar, place in zip(bars, places, strict=True) for row in bar.rows]
    chart.add_scatter(  # from each box to the spaces it uses
        x=[x for place, _ in wires for x in (_BOX, place, None)], y=[y for _, y0 in wires for y in (y0, y0, None)],
        mode="lines", line={"color": "#DDE3EA", "width": 1.3}, hoverinfo="skip",
    )
    _add_boxes(chart, result["levels"], shown, chosen, painted)
    _add_spaces(chart, result, shown, bars, places, room=int((1.1 * pitch - 26) / _LETTER))
    return chart.update_layout(hoverlabel={"align": "left"}, clickmode="event+select", hovermode="closest")


def _top(row: int) -> float:
    return _TOP + row * (_ROW + _GAP)


def _wire(row: int) -> float:
    return _top(row) + 0.76 * _ROW


def _add_flow(chart: go.Figure, number: int, input_shape: Sequence[int], bottom: float) -> None:
    """A line through all boxes, the input above it and the output below."""
    edges = [_TOP - 10, *(y for n in range(number) for y in (_top(n), _top(n) + _ROW)), bottom - _TOP + 11]
    chart.add_scatter(
        x=[26, 26, None] * (number + 1), hoverinfo="skip",
        y=[y for i in range(0, len(edges), 2) for y in (edges[i], edges[i + 1], None)], mode="lines",
        line={"color": FAINT, "width": 2},
    )
    ends = [_TOP - 14, bottom - _TOP + 15]
    _add_text(chart, 40, ends, ["input " + " × ".join(map(str, input_shape)), "output"], MUTED, 13, "middle right")
    chart.add_scatter(
        x=[26, 26], y=ends, mode="markers", hoverinfo="skip",
        marker={"symbol": ["circle-open", "triangle-down"], "size": 9, "color": MUTED, "line": {"width": 2}},
    )


def _add_boxes(
    chart: go.Figure, levels: Sequence[Mapping[str, Any]], shown: Sequence[Row], chosen: Collection[int],
    painted: Painted | None = None,
) -> None:
    fills = [None] * len(shown) if painted is None else painted.colours
    on = [None if fill is None else writing_on(fill) for fill in fills]
    strong, weak = ([own or usual for own in on] for usual in (INK, MUTED))
    middle = [_top(n) + _ROW / 2 for n in range(len(shown))]
    stacked = [n for n, row in enumerate(shown) if row.repeats]
    if stacked:  # a second card behind each folded box
        chart.add_bar(
            orientation="h", y=[middle[n] + 4 for n in stacked], x=[_BOX - 8] * len(stacked),
            base=[12] * len(stacked), width=_ROW, hoverinfo="skip",
            marker={"color": "#EEF2F6", "line": {"color": FAINT, "width": 1}, "cornerradius": 6},
        )
    still = {"marker": {"opacity": 1}}
    chart.add_bar(
        orientation="h", y=middle, x=[_BOX] * len(shown), base=0, width=_ROW,
        marker={
            "color": [fills[n] or ("#DCEBF6" if n in chosen else "#EDF5FA" if row.merged else "#F8FAFB")
                      for n, row in enumerate(shown)],
            "line": {"color": [BLUE if n in chosen or row.merged else FAINT for n, row in enumerate(shown)],
                     "width": [2.2 if n in chosen else 1.2 for n in range(len(shown))]},
            "cornerradius": 6, "opacity": 1,
        },
        customdata=[[n, _box_hover(levels, row)] for n, row in enumerate(shown)],
        hovertemplate="%{customdata[1]}<extra></extra>", selected=still, unselected=still,
    )
    subtitles = [_subtitle(levels, row) for row in shown]
    high = [_top(n) + (_ROW * 0.32 if subtitles[n] else _ROW * 0.5) for n in range(len(shown))]
    low = [_top(n) + _ROW * 0.71 for n in range(len(shown))]
    _add_text(chart, 26, middle, [numbered(row.levels) for row in shown], weak, 12, "middle center")
    _add_text(
        chart, 52, high, [f"<b>{escaped(short(row_title(levels, row), 34))}</b>" for row in shown], strong, 14,
        "middle right",
    )
    _add_text(chart, 52, low, subtitles, weak, 12, "middle right")
    right = [_top(n) + _ROW * 0.32 for n in range(len(shown))]
    outputs = [shape_text(levels[row.levels[-1]]["output_shape"]) for row in shown]
    _add_text(chart, _BOX - 6, right, outputs, strong, 13, "middle left")
    numbers = [count(parameters(levels, row), "parameter") for row in shown] if painted is None else painted.texts
    _add_text(chart, _BOX - 6, low, numbers, weak, 12, "middle left")


def _add_text(
    chart: go.Figure, x: float | Sequence[float], y: Sequence[float], texts: Sequence[str],
    colour: str | Sequence[str], points: int, position: str,
) -> None:
    chart.add_scatter(
        x=[x] * len(texts) if isinstance(x, int) else x, y=list(y), text=list(texts), mode="text",
        textposition=position, hoverinfo="skip", textfont={"size": points, "color": colour}, cliponaxis=False,
    )


def _box_hover(levels: Sequence[Mapping[str, Any]], row: Row) -> str:
    layers = [name for i in row.levels for name in levels[i]["layers"]]
    listed = [escaped(short(name, 60)) for name in layers[:8]] + (["…"] if len(layers) > 8 else [])
    tensors = len({name for i in row.levels for name in levels[i]["tensors"]})
    return "<br>".join([
        f"<b>{escaped(short(row_title(levels, row), 60))}</b>",
        f"output {shape_text(levels[row.levels[-1]]['output_shape'])}",
        f"{count(parameters(levels, row), 'parameter')} in {count(tensors, 'tensor')}", *listed,
    ])


def _add_spaces(
    chart: go.Figure, result: Mapping[str, Any], shown: Sequence[Row], bars: Sequence[SpaceBar], x: Sequence[float],
    room: int,
) -> None:
    """The bars at `x`, each with its name, of which `room` letters are shown."""
    colours = [_COLOURS[n % len(_COLOURS)] if bar.several == 1 else MUTED for n, bar in enumerate(bars)]
    start = [_top(bar.rows[0]) + 4 for bar in bars]
    tall = [_top(bar.rows[-1]) + _ROW - 4 - low for bar, low in zip(bars, start, strict=True)]
    wide = [_HEADS if bar.inside else _BAR for bar in bars]
    still = {"marker": {"opacity": 1}}
    chart.add_bar(
        x=x, y=tall, base=start, width=wide, customdata=[[None, _space_hover(result, bar)] for bar in bars],
        marker={
            "color": ["#FFFFFF" if bar.inside else colour for bar, colour in zip(bars, colours, strict=True)],
            "line": {"color": colours, "width": [2 if bar.inside else 0 for bar in bars]}, "cornerradius": 4,
            "opacity": 1,
        },
        hovertemplate="%{customdata[1]}<extra></extra>", selected=still, unselected=still,
    )
    heads = [n for n, bar in enumerate(bars) if bar.inside]
    chart.add_bar(  # two thin bars in each wide one: the spaces inside heads
        x=[x[n] + side * _HEADS / 5 for n in heads for side in (-1, 1)], y=[tall[n] - 10 for n in heads for _ in "ab"],
        base=[start[n] + 5 for n in heads for _ in "ab"], width=[3] * 2 * len(heads), hoverinfo="skip",
        marker={"color": [_COLOURS[(n + i) % len(_COLOURS)] for n in heads for i in (1, 2)], "cornerradius": 2},
    )
    _add_dots(chart, result, shown, bars, x, colours)
    right = [at + across / 2 + 3 for at, across in zip(x, wide, strict=True)]
    labels = [_label(bar, result["levels"], shown, room) for bar in bars]
    _add_text(chart, right, [_top(bar.rows[0]) + 0.3 * _ROW for bar in bars], labels, INK, 12, "middle right")


def _add_dots(
    chart: go.Figure, result: Mapping[str, Any], shown: Sequence[Row], drawn: Sequence[SpaceBar], x: Sequence[float],
    colours: Sequence[str],
) -> None:
    """Where a level uses a space: a full dot if one of its layers makes it, a ring if it only reads it."""
    makers = {(layer["space"], layer["level"]) for layer in result["layers"]}
    dots = [
        (at, _wire(row), colour, any((bar.name, i) in makers for i in shown[row].levels))
        for bar, at, colour in zip(drawn, x, colours, strict=True) if not bar.inside and bar.several == 1
        for row in bar.rows
    ]
    chart.add_scatter(
        x=[dot[0] for dot in dots], y=[dot[1] for dot in dots], mode="markers", hoverinfo="skip",
        marker={
            "size": [14 if made else 10 for *_, made in dots], "opacity": 1,
            "color": [colour if made else "#FFFFFF" for _, _, colour, made in dots],
            "line": {"color": ["#FFFFFF" if made else colour for _, _, colour, made in dots], "width": 2},
        },
    )


def _label(bar: SpaceBar, levels: Sequence[Mapping[str, Any]], shown: Sequence[Row], room: int) -> str:
    if bar.several > 1:
        return count(bar.several, "space")
    amount = f" · {bar.space['size']}" + (f" {bar.unit}s" if bar.inside else "")
    level = levels[shown[bar.rows[0]].levels[0]]["name"]
    name = bar.name.removeprefix(level + ".") if len(bar.rows) == 1 else bar.name
    if name.isdecimal() and name != bar.name:
        name = f"{level.split('.')[-1]}.{name}"
    return f"{escaped(short(name, max(5, room - len(amount))))}<span style='color:{MUTED}'>{amount}</span>"


def _space_hover(result: Mapping[str, Any], bar: SpaceBar) -> str:
    if bar.several > 1:
        return f"{bar.several} spaces within these levels<br>unfold them to see each"
    space, levels = bar.space, result["levels"]
    used = [levels[i]["name"] for i in levels_of(space)]
    tensors = list(dict.fromkeys(m["tensor"] for m in space["members"]))
    where = used[0] if len(used) == 1 else f"{used[0]} to {used[-1]}, {len(used)} levels"
    return "<br>".join([
        f"<b>{escaped(short(bar.name, 60))}</b>",
        count(space["size"], bar.unit) + f", free up to {FREEDOM[space['freedom']]}",
        *([f"{count(bar.inside, 'space')} inside the {bar.unit}s"] if bar.inside else []),
        f"in {escaped(short(where, 70))}", *(escaped(short(name, 60)) for name in tensors[:10]),
        *(["…"] if len(tensors) > 10 else []),
    ])
