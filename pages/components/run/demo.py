"""The demo's fusion: two jobs, one after the other, whose id the address keeps as `demo`."""

import streamlit as st

from fusion_engine import store

from ..shared import state
from ..shared.page_frame import job_of
from . import progress

RECIPE = "kf_linear"
SAMPLES = 400


def begin() -> None:
    """Import the parents that ship with the app; `advance` fuses them once they are there."""
    state.put(demo=progress.submit("import_parents", {"demo": "digits"}))


def advance(imported: str) -> None:
    """Fuse the imported demo parents and go on with that run."""
    result = store.read_result(imported)
    chosen = {"parents": result["parents"], "data": "digits:train", "test": "digits:test"}
    if run := progress.submit("fuse", {**chosen, "recipe": RECIPE, "samples": SAMPLES, "seed": 0}):
        state.put(demo=run, run=run, **chosen)
        st.rerun()


def follow_demo(demo: str) -> str | None:
    """The demo's fusion once it is done; until then, its progress."""
    kind = job_of(demo, "fuse", "import_parents")["kind"]
    title = "Fusing the digit classifiers" if kind == "fuse" else "Reading the demo's networks"
    if not progress.follow(demo, title, retry=begin):
        return None
    if kind != "fuse":
        advance(demo)
        return None
    return demo
