"""The app's pages, and how app.py chooses one and runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from .page_frame import frame, told

_LOOKS = Path(__file__).parent
_ICONS = {
    "start": "home", "parents": "account_tree", "explore": "scatter_plot", "fuse": "merge",
    "leaderboard": "leaderboard", "compare": "bar_chart", "difference": "difference", "analyse": "troubleshoot",
}
ADDRESSES = tuple("" if name == "start" else name for name in _ICONS)
"""The pages' paths in the app's address."""


def navigate() -> tuple[str, Any]:
    """Configure the app and set up its navigation; the name of the page that the URL asks for, and the page.

    The icon is a file: Streamlit would fetch an icon given by name from a server elsewhere.
    """
    st.set_page_config(page_title="Neuron Fusion Lab", page_icon=_LOOKS / "icon.png", layout="wide")
    st.logo(_LOOKS / "logo.svg", size="large")
    pages = [
        st.Page(f"pages/{name}.py", title=name.title(), icon=f":material/{icon}:", default=name == "start")
        for name, icon in _ICONS.items()
    ]
    page = st.navigation(pages, position="top")
    return page.url_path or "start", page


def run(beside: Callable[[], None]) -> None:
    """Run the page that the URL asks for. beside: draws what every page has in its frame's corner."""
    name, page = navigate()
    st.session_state["routed"] = True
    with frame(name):
        with told():
            beside()
        page.run()


def enter() -> None:
    """First line of every page.

    Until `st.navigation` has been called once, Streamlit takes the folder `pages` for an app of the old kind and
    runs a bookmarked page by itself, without app.py. Calling it here ends that; then app.py runs.
    """
    if not st.session_state.pop("routed", False):
        navigate()
        st.rerun()
