"""The neurons most like one neuron, by correlation."""

import numpy as np
import streamlit as st

from ..shared import state
from ..shared.space import SpaceView
from ..shared.tables import table
from . import selection

_AMONG = {"all": "All", "other": "Others", "own": "Its own"}
_SHOWN = 5


def nearest(view: SpaceView, neuron: int, among: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """Indices of the most correlated neurons and their correlations, best first, of those that are kept."""
    index, value = view.arrays["neighbours"][neuron], view.arrays["correlation"][neuron]
    kept = index >= 0
    if among != "all":
        same = view.arrays["parent"][index] == view.arrays["parent"][neuron]
        kept &= same if among == "own" else ~same
    return index[kept], value[kept]


def draw(view: SpaceView) -> None:
    """k nearest neurons of the one that is looked at, across parents or within."""
    neuron = selection.focus(view)
    if neuron is None:
        return
    st.markdown("**Most similar neurons**")
    kept = view.arrays["neighbours"].shape[1]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        wanted = st.number_input("How many", 1, kept, min(_SHOWN, kept), key="near-count", width=110)
        among = st.segmented_control(
            "Parents", list(_AMONG), format_func=_AMONG.__getitem__, required=True,
            **state.bound("near", "near-among", state.choice("near", _AMONG)),
        )
    index, value = nearest(view, neuron, among)
    index, value = index[:wanted], value[:wanted]
    table(
        {"Neuron": [view.label(int(i)) for i in index], "Correlation": value.round(3),
         "Group": view.arrays["group"][index]},
        alt="The most correlated neurons, best first",
    )
    if len(index) < wanted:
        st.caption(f"Of each neuron the {kept} most correlated are kept; {len(index)} of them are shown here.")
    st.button(
        "Select these and the neuron", key="near-select", icon=":material/select_all:",
        on_click=lambda: selection.put(view, [neuron, *index.tolist()]),
    )
