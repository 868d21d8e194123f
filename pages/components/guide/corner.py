"""What stands in the frame's corner beside the jobs: help, the tour, presentation mode, and the words of the page."""

import streamlit as st

from ..shared import glossary, state
from . import tour

WORDS = {
    "start": ("parent", "plain average", "barrier", "matching", "ensemble", "group"),
    "parents": ("parent", "layer", "level", "space", "calibration data", "non-IID"),
    "explore": ("neuron", "space", "group", "importance", "conductance", "attribution", "passport", "UMAP", "PCA"),
    "fuse": ("recipe", "importance", "grouping", "solver", "least squares", "distillation", "calibration data"),
    "tune": ("recipe", "calibration data", "loss", "accuracy", "ridge"),
    "share": ("recipe", "parent", "calibration data", "accuracy"),
    "leaderboard": ("recipe", "leaderboard", "accuracy", "ensemble", "plain average"),
    "compare": ("plain average", "ensemble", "accuracy", "loss", "group"),
    "difference": ("layer", "space", "CKA", "matching", "features"),
    "analyse": ("error budget", "level", "barrier", "linear mode connectivity", "CKA", "CCA", "features", "non-IID"),
    "learn": ("neuron", "permutation", "barrier", "matching", "k-means", "importance", "least squares", "ensemble"),
}
"""The terms that a page uses."""


def draw(page: str) -> None:
    """The sign, and the bar of the tour while somebody is on it."""
    with st.container(key="help"), st.popover("Help", type="tertiary", icon=":material/help:", key="help-list"):
        with st.container(horizontal=True):
            st.button("Guided tour", key="tour-start", icon=":material/tour:", on_click=tour.go, args=(1,))
            st.toggle(
                "Presentation mode", help="Large type and strong contrast; what only experts need is hidden.",
                **state.bound("present", "present-toggle", state.presenting(), lambda on: 1 if on else None),
            )
        words = WORDS.get(page, ())
        if words:
            st.markdown("**Words on this page**")
            st.html(glossary.listed(words))
        st.page_link(
            "pages/learn.py", label="All words", icon=":material/menu_book:", query_params={"chapter": "words"}
        )
    if state.presenting():
        st.html('<span class="presenting"></span>')
    tour.draw(page)
