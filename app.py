"""The app's entry point: page configuration and router. Start it with `make run`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.components import router

LOOKS = Path(__file__).parent / "pages" / "components"

st.set_page_config(page_title="Neuron Fusion Lab", page_icon=LOOKS / "icon.png", layout="wide")
st.logo(LOOKS / "logo.svg", size="large")
router.run()
