"""Parallel coordinates as a Streamlit component: every trial a line, ranges on the axes that leave some of them.

`st.plotly_chart` says nothing of ranges that are drawn on its parallel coordinates, and draws them without a keyboard.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from .axes import LOSS, Axis, Ranges, value_of

HEIGHT = 420
_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "fusion_parallel", js=(_HERE / "parallel.js").read_text(), css=(_HERE / "parallel.css").read_text(),
    isolate_styles=False,
)


def parallel(
    table: Mapping[str, Any], along: Sequence[Axis], ranges: Ranges, chosen: int | None, *, key: str,
    on_done: Callable[[dict[str, Any]], None],
) -> None:
    """on_done is called with what the reader did: {"event": "range", "axis", "low", "high"}, places from 0 to 1, both
    None where the range goes; {"event": "pick", "trial"}."""
    loss = next(axis for axis in along if axis.name == LOSS)
    done = [trial for trial in table["trials"] if trial["loss"] is not None]
    data = {
        "axes": [
            {"name": axis.name, "label": axis.label, "ticks": axis.ticks(), "range": _places(axis, ranges)}
            for axis in along
        ],
        "lines": [
            {
                "trial": trial["number"], "rank": loss.place(trial["loss"]),
                "places": [axis.place(value_of(trial, axis, table)) for axis in along],
            }
            for trial in done
        ],
        "best": table["best"], "chosen": chosen,
        "alt": f"Parallel coordinates: {len(done)} trials as lines over {len(along)} axes; the table has the same.",
    }

    def finished() -> None:
        what = st.session_state[key].get("done")
        if isinstance(what, dict):
            on_done(what)

    _mount(key=key, data=data, height=HEIGHT, on_done_change=finished)


def _places(axis: Axis, ranges: Ranges) -> list[float] | None:
    """A range as places on the axis, cut to it."""
    if axis.name not in ranges:
        return None
    low, high = (min(max(end, axis.low), axis.high) for end in ranges[axis.name])
    if axis.choices:
        return [axis._share(low), axis._share(high)]
    return [axis.place(low) or 0.0, axis.place(high) or 0.0]
