"""What a leaderboard is to run: recipes, importances, seeds and calibration samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine.core.capability import Facts, Methods

from ..inputs.sample_number import samples_input
from ..recipe import recipes
from ..shared import state
from ..shared.text import count, plain
from .leaderboard_table import reasons

OWN = "own"
_SAMPLES = 400
_MOST_SEEDS = 10


def leaderboard_form(catalogue: Mapping[str, Any], given: Facts) -> dict[str, Any] | None:
    """Arguments of the job but for parents, data and test; None while nothing is chosen."""
    methods = catalogue["methods"]
    verdicts = {preset["name"]: recipes.refusal(preset["recipe"], methods, given) for preset in catalogue["presets"]}
    able = [name for name, reason in verdicts.items() if not reason]
    presets = _choose_presets(catalogue["presets"], able)
    if refused := {name: reason for name, reason in verdicts.items() if reason}:
        with st.popover(f"{count(len(refused), 'recipe')} cannot run here", icon=":material/block:", type="tertiary"):
            reasons(refused)
    with st.container(key="expert-board"):
        importances = _choose_importances(methods, given)
        left, right, _ = st.columns([1, 1, 2])
    seeds = left.number_input(
        "Seeds", min_value=1, max_value=_MOST_SEEDS, step=1,
        help="Fusions of every recipe, each with another seed: the spread shows how much is chance.",
        **state.bound("seeds", "board-seeds", min(_MOST_SEEDS, max(1, state.number("seeds", 1)))),
    )
    samples = samples_input(right, state.get("data"), _SAMPLES)
    fusions = len(presets) * len(importances) * int(seeds)
    st.caption(f"{count(fusions, 'fusion')} at most. Importances and moments are computed once and shared.")
    if not presets or not importances:
        return None
    return {
        "presets": "all" if presets == able else presets, "importances": None if importances == [OWN] else importances,
        "seeds": list(range(int(seeds))), "samples": samples,
    }


def _choose_presets(presets: Sequence[Mapping[str, Any]], able: Sequence[str]) -> list[str]:
    """Pills of the recipes that can run, all chosen at first; others are named by the address."""
    asked = state.get("presets")
    known = [name for name in able if name in asked.split(",")] if asked else list(able)
    summaries = {preset["name"]: preset["title"] for preset in presets}
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Recipes**", width="content")
        st.button("All", type="tertiary", key="board-all", on_click=_put, args=("presets", able, able))
        st.button("None", type="tertiary", key="board-none", on_click=_put, args=("presets", [], able))
    chosen = st.pills(
        "Recipes", list(able), selection_mode="multi", label_visibility="collapsed",
        format_func=lambda name: plain(summaries[name]),
        **state.bound("presets", "board-presets", known, lambda chosen: _named(chosen, able)),
    )
    return [name for name in able if name in chosen]


_NONE = "-"


def _named(chosen: Sequence[str], usual: Sequence[str]) -> str | None:
    """A choice as the address has it; nothing where it is the usual one."""
    return None if set(chosen) == set(usual) else ",".join(chosen) or _NONE


def _put(key: str, chosen: Sequence[str], usual: Sequence[str]) -> None:
    state.put(**{key: _named(chosen, usual)})


def _choose_importances(methods: Methods, given: Facts) -> list[str]:
    titles = {OWN: "The recipe's own"} | {m["name"]: m["title"] for m in recipes.able("importance", methods, given)}
    asked = state.get("importances")
    return list(st.pills(
        "Importance of neurons", list(titles), selection_mode="multi",
        format_func=lambda name: plain(titles[name]), help="Each one chosen is tried with every recipe.",
        **state.bound(
            "importances", "board-importances", [n for n in titles if n in (asked or OWN).split(",")],
            lambda chosen: _named(chosen, [OWN]),
        ),
    ))
