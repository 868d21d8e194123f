"""The plane as a Streamlit component: mounting it, and what goes to the browser and comes back.

`st.plotly_chart` makes a new widget of every new figure, so that recolouring it would drop zoom and selection. Here the
browser keeps the chart and is told what has changed. Points travel once, in an element of their own, as base64 of
little-endian arrays: a thousandth of a second to write and to read, where JSON of 4,096 neurons takes a hundred.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from .colouring import Colouring

HEIGHT = 620
_HERE = Path(__file__).parent
_KINDS = {"f4": "<f4", "i4": "<i4", "u1": "u1"}

_mount = st.components.v2.component(
    "fusion_plane", js=(_HERE / "plane.js").read_text(), css=(_HERE / "plane.css").read_text(), isolate_styles=False
)

_carry = st.components.v2.component("fusion_plane_points", js=(_HERE / "points.js").read_text())


def packed_points(
    coordinates: np.ndarray, index: np.ndarray, arrays: Mapping[str, np.ndarray], names: Sequence[str],
    axes: Sequence[str],
) -> str:
    """What stays the same while one looks at a space, as JSON. coordinates: (m, 2 or 3); index: (m,) which neuron of
    `arrays` each point is; axes: a title for each coordinate."""
    columns = dict(zip("xyz", (_packed("f4", column) for column in coordinates.T), strict=False))
    columns |= {name: _packed("i4", arrays[name][index]) for name in ("neuron", "group")}
    columns |= {
        "index": _packed("i4", index), "parent": _packed("u1", arrays["parent"][index]),
        "importance": _packed("f4", arrays["importance"][index]),
    }
    return json.dumps({"columns": columns, "names": list(names), "axes": list(axes)})


def plane(
    points: str, index: np.ndarray, colouring: Colouring, *, selected: Sequence[int], focus: int | None,
    hidden: Sequence[int], labels: Sequence[tuple[str, np.ndarray]], alt: str, key: str,
    on_done: Callable[[dict[str, Any]], None],
) -> None:
    """Draw the points of `packed_points`.

    index: (m,) as given there; colouring: of all neurons; labels: names to write amid their neurons. on_done is called
    with what the reader did: {"event": "focus", "index"}, {"event": "select", "indices"} or {"event": "hide",
    "parents"}.
    """
    content = hashlib.sha256(points.encode()).hexdigest()[:32]
    with st.container(key="plane-carrier"):
        _carry(key=f"{key}-points", data={"content": content, "points": points})
    data = {
        "content": content, "plotly": plotly_chunk(), "alt": alt, "selected": list(selected), "focus": focus,
        "hidden": list(hidden), "colour": _colour(colouring, index),
        "labels": [[name, members.tolist()] for name, members in labels],
    }

    def done() -> None:
        what = st.session_state[key].get("done")
        if isinstance(what, dict):
            on_done(what)

    _mount(key=key, data=data, height=HEIGHT, on_done_change=done)


@cache
def plotly_chunk() -> str:
    """The file among Streamlit's own scripts that holds Plotly and leaves it as window.Plotly."""
    return next((Path(st.__file__).parent / "static" / "static" / "js").glob("PlotlyChart.*.js")).name


def _colour(colouring: Colouring, index: np.ndarray) -> dict[str, Any]:
    values = colouring.values[index]
    shared = {"title": colouring.title, "palette": list(colouring.palette), "other": colouring.other}
    if colouring.names is None:
        finite = colouring.values[np.isfinite(colouring.values)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        return {**shared, "kind": "scale", "values": _packed("f4", values), "low": low, "high": high}
    named = {"names": list(colouring.names), "tell": colouring.tell}
    return {**shared, "kind": "category", "values": _packed("i4", values), **named}


def _packed(kind: str, values: np.ndarray) -> list[str]:
    return [kind, base64.b64encode(np.ascontiguousarray(values, _KINDS[kind]).tobytes()).decode()]
