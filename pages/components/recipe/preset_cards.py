"""The recipes to choose from: what each does and needs, how it did on these parents, and why it cannot run here."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.capability import Facts, Methods
from fusion_engine.presets import needs
from fusion_engine.store import PastRuns

from ..shared.text import count, percent, plain
from . import recipes
from .recipe_draft import Draft


def choose_preset(
    draft: Draft, presets: Sequence[Mapping[str, Any]], methods: Methods, given: Facts, parents: str, test: str,
) -> None:
    """One card a preset, the chosen one in full. parents, test: the ids of the parent set and of the test data ('' for
    none)."""
    by_name = {p["name"]: p for p in presets}
    st.session_state["preset"] = draft.preset["name"]
    past: dict[str, PastRuns] = {}
    for runs in store.past_runs(parents, test or None):
        past.setdefault(runs.recipe, runs)
    refused = {p["name"]: recipes.refusal(p["recipe"], methods, given) for p in presets}

    def title(name: str) -> str:
        shown = plain(by_name[name]["title"])
        return f":gray[{shown}]" if refused[name] else f"**{shown}**"

    st.radio(
        "Recipe", list(by_name), format_func=title,
        captions=[
            _caption(p, methods, refused[p["name"]], past.get(p["name"]), p["name"] == draft.preset["name"])
            for p in presets
        ],
        key="preset", label_visibility="collapsed", on_change=lambda: draft.choose(st.session_state["preset"]),
    )


def _caption(preset: Mapping[str, Any], methods: Methods, refused: str, past: PastRuns | None, chosen: bool) -> str:
    """What it does, why it is not available, and how it did; of the chosen one all there is to say."""
    summary = plain(preset["summary"].strip())
    if chosen:
        lines = [summary + (f" *{plain(preset['citation'])}*" if preset["citation"] else "")]
    else:
        lines = [summary.split(". ")[0].rstrip(".") + "."]
    if refused:
        lines.append(f":material/block: Not available here: {plain(refused)}")
    elif chosen:
        lines.append(f":material/checklist: Needs {plain(needs(recipes.normal(preset['recipe'], methods), methods))}.")
    if past is not None:
        last = "" if past.runs == 1 else f", last {percent(past.last)}"
        runs = count(past.runs, "run")
        lines.append(f":material/history: On these parents: best {percent(past.best)}{last} ({runs}).")
    return "  \n".join(lines)
