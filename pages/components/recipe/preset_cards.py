"""The recipes to choose from: what each does and needs, how it did on these parents, and why it cannot run here."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.capability import Facts, Methods
from fusion_engine.core.recipe import Recipe
from fusion_engine.presets import needs
from fusion_engine.store import PastRuns

from ..shared import state
from ..shared.text import count, percent, plain
from . import recipes
from .recipe_draft import Draft

_START = ("kf_linear", "best_zero_shot", "hf_linear", "average")
_ALL = "all"
_KINDS = {
    "start": "Start here", "groups": "By groups", "pairs": "By pairs", "position": "By position", _ALL: "All",
}
_KINDS_HELP = (
    "By groups: neurons that do the same work are merged, however many of one parent. By pairs: each neuron meets one "
    "of every other parent. By position: no matching, for parents that come from one model."
)


def kind_of(preset: Mapping[str, Any], methods: Methods) -> str:
    """How a preset brings neurons together: 'groups', 'pairs' or 'position'."""
    name = Recipe.from_mapping(preset["recipe"]).to_mapping()["grouping"]["method"]
    pairs = any(m["name"] == name and m["pairs"] for m in methods["grouping"])
    return "position" if name == "identity" else "pairs" if pairs else "groups"


def matching(presets: Sequence[Mapping[str, Any]], words: str) -> list[Mapping[str, Any]]:
    """The presets whose id, title, citation or summary have all of `words`."""
    wanted = words.lower().split()
    texts = ("name", "title", "citation", "summary")
    return [p for p in presets if all(w in " ".join(p[text] for text in texts).lower() for w in wanted)]


def _listed(presets: Sequence[Mapping[str, Any]], methods: Methods, chosen: str) -> list[Mapping[str, Any]]:
    """The presets of the kind or with the words that the reader asks for; the chosen one is always among them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Kind of recipe", list(_KINDS), format_func=_KINDS.__getitem__, required=True, help=_KINDS_HELP,
            **state.bound("kind", "recipe-kind", state.choice("kind", _KINDS, "start" if chosen in _START else _ALL)),
        )
        words = st.text_input(
            "Search", key="recipe-search", placeholder="Name, author, id", icon=":material/search:",
            label_visibility="collapsed",
        )
    if words.strip():
        found = matching(presets, words)
        if not found:
            st.caption("No recipe has these words.")
    else:
        found = [p for p in presets if kind in (_ALL, "start" if p["name"] in _START else "", kind_of(p, methods))]
    names = {p["name"] for p in found} | {chosen}
    return [p for p in presets if p["name"] in names]


def choose_preset(
    draft: Draft, presets: Sequence[Mapping[str, Any]], methods: Methods, given: Facts, parents: str, test: str,
) -> None:
    """One card a preset, the chosen one in full. parents, test: the ids of the parent set and of the test data ('' for
    none)."""
    presets = _listed(presets, methods, draft.preset["name"])
    by_name = {p["name"]: p for p in presets}
    st.session_state["preset"] = draft.preset["name"]
    past: dict[str, PastRuns] = {}
    for runs in store.past_runs(parents, test or None):
        past.setdefault(runs.recipe, runs)
    refused = {p["name"]: recipes.refusal(p["recipe"], methods, given) for p in presets}

    def title(name: str) -> str:
        shown = plain(by_name[name]["title"])
        return f":gray[{shown}] `{name}`" if refused[name] else f"**{shown}** `{name}`"

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
