"""Tune: a recipe's parameters with the smallest held-out loss, within a budget."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from pages.components.inputs import pickers
from pages.components.inputs.base_model import base_model, base_select
from pages.components.inputs.data_fit import misfits
from pages.components.inputs.facts import facts
from pages.components.recipe import recipes
from pages.components.recipe.recipe_draft import Draft
from pages.components.run import progress
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, existing, heading
from pages.components.shared.text import plain
from pages.components.tuning.form import search_form
from pages.components.tuning.view import how_far, trials_view

EVERY = 0.7


def choose(draft: Draft, summary: dict[str, Any], catalogue: dict[str, Any], expanded: bool) -> None:
    """The recipe, what of it is searched, and the button."""
    with st.expander("A new search", icon=":material/tune:", expanded=expanded):
        presets, methods = catalogue["presets"], catalogue["methods"]
        able = {p["name"]: p["title"] for p in presets if not recipes.refusal(p["recipe"], methods, facts(summary))}
        able.setdefault(draft.preset["name"], draft.preset["title"])
        st.session_state["tune-recipe"] = draft.preset["name"]
        st.selectbox(
            "Recipe", list(able), format_func=lambda name: f"{able[name]} · {name}", key="tune-recipe",
            on_change=lambda: (state.forget("tune"), draft.choose(st.session_state["tune-recipe"])),
        )
        if draft.changed:
            st.caption(":material/edit: With your changes of it from Fuse.")
        if recipes.needs_base(draft.recipe, methods):
            base_select(summary)
        recipe = recipes.normal(draft.recipe, methods)
        chosen = search_form(recipe, methods, {d["id"]: d["name"] for d in store.list_data() if d["labelled"]})
        unfit = misfits(summary, state.get("data"), state.get("test"))
        refused = recipes.refusal(draft.recipe, methods, facts(summary)) or next(iter(unfit), "")
        if refused:
            st.warning(plain(refused), icon=":material/block:")
        base = base_model(summary) if recipes.needs_base(draft.recipe, methods) else ""
        arguments = {
            "parents": summary["id"], "data": state.get("data"), "test": state.get("test") or None,
            "recipe": draft.recipe if draft.changed else draft.preset["name"], **(chosen or {}),
        } | ({"base": base} if base else {})
        if progress.pressed(
            "Start", "start-search", type="primary", icon=":material/search_insights:",
            disabled=bool(refused) or chosen is None,
        ) and chosen and not refused and (run := progress.submit("search", arguments)):
            state.put(search=run)
            st.rerun()


def choose_search(runs: list[dict[str, Any]]) -> str:
    """The search to show: the one in the URL, else the newest."""
    names = {run["id"]: pickers.run_label(run, *_about(run["arguments"])) for run in runs}
    if len(runs) > 1:
        pickers.select("search", "Search", names, "Choose a search", otherwise=next(iter(names)))
    return state.choice("search", names)


def _about(arguments: Mapping[str, Any]) -> list[str]:
    """What is said of a search beside its recipe's name."""
    return [*([] if isinstance(arguments["recipe"], str) else ["changed"]), f"{arguments.get('trials') or 30} trials"]


def follow(run: str) -> None:
    """The search, drawn again and again while trials come."""
    (show if client.status(run)["state"] in client.FINISHED else live)(run)


@st.fragment(run_every=EVERY)
def live(run: str) -> None:
    if client.status(run)["state"] in client.FINISHED:
        st.rerun()
    show(run)


def show(run: str) -> None:
    table = existing(store.read_search, run)
    how_far(run, client.status(run), table)
    if table is not None and table["trials"]:
        trials_view(run, table, lambda recipe: take_to_fuse(run, recipe))


def take_to_fuse(run: str, recipe: Mapping[str, Any]) -> None:
    """Put a trial's recipe, and the search's samples and seed, where the Fuse page finds them."""
    catalogue, arguments = client.catalogue() or {}, store.read_job(run)["arguments"]
    draft = Draft(catalogue["presets"], catalogue["methods"])
    draft.take(draft.nearest(recipe), recipe)
    state.put(samples=arguments.get("samples") or "all", seed=arguments.get("seed") or 0)
    state.forget("job")


router.enter()
heading("Tune", "Look for a recipe's best parameters within a budget: by held-out loss, never by the test data.")
summary = pickers.parents_or_empty("There are no parents to tune a recipe on yet.")
pickers.context(summary, test=True)
if not state.get("data"):
    empty("A search fuses with calibration data: choose some for these parents.", "parents", "Choose data")
progress.wait_for_service()
catalogue = client.catalogue() or {}
runs = [run for run in store.list_runs("search") if run["arguments"]["parents"] == summary["id"]]
choose(Draft(catalogue["presets"], catalogue["methods"]), summary, catalogue, expanded=not runs)
if runs:
    follow(choose_search(runs))
