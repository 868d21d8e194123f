"""How many samples to take: never more than there are, and a note where the address asked for something else."""

from typing import Any

import streamlit as st

from fusion_engine import store

from ..shared import state
from ..shared.page_frame import existing
from ..shared.text import count, size
from .pickers import BUILT_IN_SAMPLES

LEAST = 10


def available(data: str) -> int | None:
    """The number of samples of a data set; None where it is not in the store."""
    if data in BUILT_IN_SAMPLES:
        return BUILT_IN_SAMPLES[data]
    summary = existing(store.read_data_summary, data) if data else None
    return int(summary["samples"]) if summary else None


def fitting(key: str, data: str, default: int) -> tuple[int, str]:
    """The number that the address has as `key`, brought between `LEAST` and what the data set has; and a note where it
    had to be changed."""
    most = available(data)
    asked, low = state.number(key, default), LEAST if most is None else min(LEAST, most)
    if most is not None and asked > most:
        there = f"There are {count(most, 'sample')}"
        return most, "" if asked == default else f"{there}: all of them are taken, not {size(asked)}."
    if asked < low:
        return low, f"{size(asked)} are too few to compare neurons on: {low} are taken."
    return asked, ""


def samples_input(place: Any, data: str, default: int, *, disabled: bool = False) -> int:
    """A field for the number of calibration samples, bound to the address as `samples`."""
    value, note = fitting("samples", data, default)
    most = available(data) or 1_000_000
    chosen = int(place.number_input(
        "Calibration samples", min_value=min(LEAST, most), max_value=most, step=50, disabled=disabled,
        help=f"Drawn evenly over the classes, at most the {size(most)} there are. A few hundred are usually enough.",
        **state.bound("samples", "samples-number", value),
    ))
    if note and not disabled:
        st.caption(f":material/info: {note}")
    return chosen
