"""How two networks differ: on the network's picture, and as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from fusion_engine.core.level_plan import finest

from ..model.level_rows import Row, folded_rows
from ..model.model_chart import Painted, model_picture
from ..shared import state
from ..shared.tables import table
from ..shared.text import count, distinct, escaped, percent, plain, seconds
from ..shared.theme import BLUE, FAINT, ORANGE, between, clicked, figure, show

MEASURES = {
    "aligned": "Weights, neurons aligned", "as_is": "Weights, as they are", "cka": "Features, 1 − CKA",
}
_SCALE = ((0.0, "#F7F9FB"), (0.5, "#9CCBE6"), (1.0, "#0072B2"))
_LONGEST = 60  # bars


def draw(result: Mapping[str, Any], run: str) -> None:
    first, second = distinct(result["networks"], 40)
    _figures(result, first, second)
    for note in result["notes"]:
        st.caption(f":material/info: {plain(note[:1].upper() + note[1:])}.")
    measures = [m for m in MEASURES if any(value(level, m) is not None for level in result["levels"])]
    if not measures:
        st.info("No level of the two can be compared: their weights have different shapes.")
        return
    measure = state.choice("by", measures)
    st.segmented_control(
        "Coloured by", measures, format_func=MEASURES.__getitem__, required=True,
        **state.bound("by", "difference-by", measure),
    )
    picture, bars = st.columns([5, 4], gap="large")
    with picture:
        _picture(result, measure, run)
    with bars:
        _bars(result, run, first, second)
    _tables(result, first, second)


def value(level: Mapping[str, Any], measure: str) -> float | None:
    """How far apart a level is by a measure: 0 the same; 1 nothing in common."""
    found = level[measure]
    return None if found is None else 1 - found if measure == "cka" else float(found)


def _figures(result: Mapping[str, Any], first: str, second: str) -> None:
    if result["same"]:
        st.success(f"All weights of {plain(first)} and {plain(second)} are the same.", icon=":material/drag_handle:")
    told = {"Weights apart, as they are": _number(result["as_is"])}
    if result["align"]:
        told[f"Weights apart, aligned by {result['align']}"] = _number(result["aligned"])
    if result["agreement"] is not None:
        told["They say the same class"] = f"of {percent(result['agreement'])} of {count(result['samples'], 'sample')}"
    judged = [level for level in result["levels"] if level["cka"] is not None]
    worst = min(judged, key=lambda level: level["cka"], default=None)
    if worst is not None:
        told["Features differ most"] = f"at level {worst['name']}: CKA {worst['cka']:.2f}"
    told["Took"] = seconds(result["seconds"])
    lines = "".join(f"<span>{escaped(name)}</span><div>{escaped(text)}</div>" for name, text in told.items())
    st.html(f'<div class="facts">{lines}</div>')
    st.caption(
        "Weights A and B are apart by ‖A − B‖ / √(‖A‖² + ‖B‖²): 0 the same, 1 as far as weights that have nothing in "
        "common, 1.41 opposite. Aligned: with the second network's neurons brought into the order of the first's, "
        "which changes no answer. CKA: 1 where features are alike but for a rotation and a scale."
    )


def _picture(result: Mapping[str, Any], measure: str, run: str) -> None:
    structure, levels = result["structure"], result["structure"]["levels"]
    groups = finest(len(levels))
    opened = st.session_state.setdefault("opened-difference", set())
    shown = folded_rows(levels, groups, opened)
    if len(groups) > len(shown) and st.toggle(f"Show all {len(groups)} levels", key="all-difference"):
        shown = folded_rows(levels, groups, None)
    values = [_largest(result["levels"], row, measure) for row in shown]
    high = max([v for v in values if v is not None] + [1e-9])
    painted = Painted(
        [None if v is None else between(_SCALE, v / max(high, 1.0)) for v in values],
        [("no features" if measure == "cka" else "not told") if v is None else f"{v:.3f}" for v in values],
    )
    chart = model_picture(structure, shown, (), result["input_shape"], painted)
    alt = f"The network's levels from input to output, coloured by: {MEASURES[measure]}; the table says the same"
    key = f"difference-{run}-{measure}-{len(shown)}"
    show(chart, alt, key, on_select=lambda: _unfold(shown, key), selection_mode="points")
    folded = any(row.repeats for row in shown)
    st.caption(
        f"The darker a level, the further apart the two networks are there. {MEASURES[measure]}: 0 the same."
        + (" A folded box has the largest of its levels." if folded else "")
    )


def _unfold(shown: Sequence[Row], key: str) -> None:
    """What a click on a folded box does."""
    number = clicked(key)
    if number is not None and number < len(shown) and shown[number].repeats:
        st.session_state["opened-difference"].add(shown[number].groups[0])


def _largest(levels: Sequence[Mapping[str, Any]], row: Row, measure: str) -> float | None:
    found = [v for i in row.levels if (v := value(levels[i], measure)) is not None]
    return max(found, default=None)


def _bars(result: Mapping[str, Any], run: str, first: str, second: str) -> None:
    layers = [layer for layer in result["layers"] if layer["as_is"] is not None]
    if layers:
        st.markdown("**Weights by layer**")
        drawn = layers if len(layers) <= _LONGEST else sorted(layers, key=lambda v: -v["as_is"])[:_LONGEST]
        alt = f"Marks: how far apart the weights of {first} and {second} are, by layer; the table says the same"
        show(layer_bars(drawn), alt, f"difference-layers-{run}")
        if len(drawn) < len(layers):
            st.caption(f"The {len(drawn)} of {len(layers)} layers that differ most, as they are; the table has all.")
    if result["spaces"]:
        st.markdown("**Features by space**")
        spaces = result["spaces"]
        drawn = spaces if len(spaces) <= _LONGEST else sorted(spaces, key=lambda v: v["cka"])[:_LONGEST]
        alt = f"Bars: CKA of the features of {first} and {second}, by space; the table says the same"
        show(space_bars(drawn), alt, f"difference-spaces-{run}")
        if len(drawn) < len(spaces):
            st.caption(f"The {len(drawn)} of {len(spaces)} spaces that differ most; the table has all.")


def _height(rows: int) -> int:
    return 90 + max(18, min(40, 1000 // max(rows, 1))) * rows


def layer_bars(layers: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Two marks a layer: as they are, and aligned."""
    names = [escaped(name) for name in distinct((layer["name"] for layer in layers), 28)]
    chart = figure(_height(len(layers)))
    both = [(a["as_is"], a["aligned"]) for a in layers]
    chart.add_scatter(
        x=[x for pair in both for x in (*(v if v is not None else pair[0] for v in pair), None)],
        y=[y for name in names for y in (name, name, None)], mode="lines", line={"color": FAINT, "width": 3},
        hoverinfo="skip", showlegend=False,
    )
    for key, title, colour, symbol in (
        ("as_is", "As they are", ORANGE, "square"), ("aligned", "Aligned", BLUE, "circle")
    ):
        points = [(layer[key], name) for layer, name in zip(layers, names, strict=True) if layer[key] is not None]
        if points:
            chart.add_scatter(
                x=[p[0] for p in points], y=[p[1] for p in points], mode="markers", name=title,
                marker={"symbol": symbol, "size": 11, "color": colour},
                hovertemplate=f"%{{y}}, {title.lower()}: %{{x:.3f}}<extra></extra>",
            )
    high = max([v for pair in both for v in pair if v is not None] + [1.0])
    chart.update_xaxes(range=[-0.03, high * 1.06], title_text="Apart: 0 the same, 1 nothing in common")
    return chart.update_yaxes(autorange="reversed", type="category", showgrid=False)


def space_bars(spaces: Sequence[Mapping[str, Any]]) -> go.Figure:
    """CKA, with what unrelated features would have."""
    names = [escaped(name) for name in distinct((space["name"] for space in spaces), 28)]
    chart = figure(_height(len(spaces)), bargap=0.4)
    chart.add_bar(
        x=[space["cka"] for space in spaces], y=names, orientation="h", name="CKA", marker={"color": BLUE},
        hovertemplate="%{y}: CKA %{x:.3f}<extra></extra>",
    )
    chart.add_scatter(
        x=[space["unrelated"] for space in spaces], y=names, mode="markers", name="if they had nothing in common",
        marker={"symbol": "line-ns-open", "size": 15, "color": ORANGE, "line": {"width": 3, "color": ORANGE}},
        hovertemplate="%{y}: unrelated features have about %{x:.3f}<extra></extra>",
    )
    chart.update_xaxes(range=[0, 1.02], title_text="Linear CKA")
    return chart.update_yaxes(autorange="reversed", type="category", showgrid=False)


def _tables(result: Mapping[str, Any], first: str, second: str) -> None:
    with st.expander("As tables, with every tensor by its names in both files"):
        st.markdown("**Levels**")
        table(
            [{"Level": v["index"], "Name": v["name"], "As they are": _number(v["as_is"]),
              "Aligned": _number(v["aligned"]), "Least CKA": _number(v["cka"])} for v in result["levels"]],
            alt="How far apart the networks are, by level",
        )
        st.markdown("**Layers**")
        table(
            [{"Layer": v["name"], "Level": v["level"], "As they are": _number(v["as_is"]),
              "Aligned": _number(v["aligned"]), "Tensors": len(v["tensors"])} for v in result["layers"]],
            alt="How far apart the networks are, by layer",
        )
        st.markdown("**Tensors**")
        table(
            [{"Tensor": t["name"], f"In the file of {first}": t["file"][0], f"In the file of {second}": t["file"][1],
              "Shape": " × ".join(map(str, t["shapes"][0])), "As they are": _number(t["as_is"]),
              "Aligned": _number(t["aligned"]), "Counted": t["counted"]}
             for v in result["layers"] for t in v["tensors"]],
            alt="How far apart the networks are, by tensor, with the tensors' names in both files",
        )
        st.caption("Not counted in their layer: running statistics and counters, which are no weights.")
        if result["spaces"]:
            st.markdown("**Spaces**")
            table(
                [{"Space": v["name"], "Neurons": " and ".join(map(str, dict.fromkeys(v["sizes"]))),
                  "CKA": _number(v["cka"]), "If unrelated": _number(v["unrelated"]), "Rows": v["rows"],
                  "Neurons that alignment moved": percent(v["moved"], 0)} for v in result["spaces"]],
                alt="Likeness of features, by space", numbers=["Rows"],
            )


def _number(number: float | None) -> str:
    return "–" if number is None else f"{number:.3f}"
