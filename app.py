"""The app's entry point: page configuration and router. Start it with `make run`."""

from __future__ import annotations

import streamlit as st

from pages.components import shell

PAGES = {
    "start": st.Page("pages/start.py", title="Start", icon=":material/home:", default=True),
    "parents": st.Page("pages/parents.py", title="Parents", icon=":material/account_tree:"),
    "explore": st.Page("pages/explore.py", title="Explore", icon=":material/scatter_plot:"),
    "fuse": st.Page("pages/fuse.py", title="Fuse", icon=":material/merge:"),
    "compare": st.Page("pages/compare.py", title="Compare", icon=":material/bar_chart:"),
}

st.set_page_config(page_title="Neuron Fusion Lab", page_icon=":material/hub:", layout="wide")
page = st.navigation(list(PAGES.values()), position="top")
with shell.frame(next(name for name, candidate in PAGES.items() if candidate == page)):
    page.run()
