"""A closer look at compared runs, one subject at a time."""

import streamlit as st

from ..shared import state
from . import confusion, disagreements, waterfall, went
from .compared import Compared

_SUBJECTS = {
    "confusion": ("Confusion", ":material/grid_on:", confusion.draw),
    "disagreements": ("Disagreements", ":material/compare:", disagreements.draw),
    "budget": ("Error budget", ":material/waterfall_chart:", waterfall.draw),
    "neurons": ("Where neurons went", ":material/alt_route:", went.draw),
}


def draw(shown: Compared) -> None:
    st.header("A closer look", anchor=False)
    subject = state.choice("closer", _SUBJECTS)
    st.segmented_control(
        "A closer look at", list(_SUBJECTS), required=True, label_visibility="collapsed",
        format_func=lambda name: f"{_SUBJECTS[name][1]} {_SUBJECTS[name][0]}",
        **state.bound("closer", "compare-closer", subject),
    )
    _SUBJECTS[subject][2](shown)
