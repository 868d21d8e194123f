"""The recipes to choose from: what each does and needs, how it did on these parents, and why it cannot run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.presets import needs
from fusion_engine.store import PastRuns

from ..inputs import pickers
from ..inputs.base_model import base_model
from ..shared import state
from ..shared.text import count, percent, plain
from . import recipes
from .recipe_draft import Draft

__all__ = ["Inputs", "choose_preset", "inputs"]


@dataclass(frozen=True)
class Inputs:
    """What a recipe has to work with: the number of parents, and whether there are labels, class counts of all
    parents, and a base model."""

    parents: int
    labelled: bool
    counts: bool
    base: bool

    def refusal(self, recipe: Mapping[str, Any], methods: recipes.Catalogue) -> str:
        """Why the recipe cannot work with them, as one line; '' if nothing speaks against it."""
        return recipes.refusal(recipe, methods, self.parents, self.labelled, self.counts, self.base)


def inputs(summary: Mapping[str, Any]) -> Inputs:
    """What there is with these parents and the calibration data in the URL."""
    data, parents = state.get("data"), summary["parents"]
    labelled = data in pickers.BUILT_IN or bool(store.read_data_summary(data)["labelled"])
    return Inputs(len(parents), labelled, all(p["class_counts"] for p in parents), bool(base_model(summary)))


def choose_preset(
    draft: Draft, presets: Sequence[Mapping[str, Any]], methods: recipes.Catalogue, given: Inputs,
    parents: str, test: str,
) -> None:
    """One card a preset, the chosen one in full. parents, test: the ids of the parent set and of the test data ('' for
    none)."""
    by_name = {p["name"]: p for p in presets}
    st.session_state["preset"] = draft.preset["name"]
    past: dict[str, PastRuns] = {}
    for runs in store.past_runs(parents, test or None):
        past.setdefault(runs.recipe, runs)
    refused = {p["name"]: given.refusal(recipes.normal(p["recipe"], methods), methods) for p in presets}

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


def _caption(
    preset: Mapping[str, Any], methods: recipes.Catalogue, refused: str, past: PastRuns | None, chosen: bool
) -> str:
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
