"""The app's entry point: page configuration and router. Start it with `make run`."""

from __future__ import annotations

import streamlit as st

from pages.components import router

st.set_page_config(page_title="Neuron Fusion Lab", page_icon=":material/hub:", layout="wide")
router.run()
