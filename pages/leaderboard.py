"""Leaderboard: every recipe on the same parents, with spread, time and the front of accuracy against seconds."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from pages.components.inputs import pickers
from pages.components.inputs.base_model import base_model, base_select
from pages.components.inputs.facts import facts
from pages.components.leaderboard.front_chart import front_chart, score_of
from pages.components.leaderboard.leaderboard_form import leaderboard_form
from pages.components.leaderboard.leaderboard_table import as_csv, details, reasons, standings_table
from pages.components.leaderboard.opening import open_row
from pages.components.recipe import recipes
from pages.components.recipe.recipe_draft import Draft
from pages.components.run import progress
from pages.components.run.downloads import file_name
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, existing, heading, told
from pages.components.shared.text import count, plain, seconds, when
from pages.components.shared.theme import show

EVERY = 0.7


def choose(summary: dict[str, Any], catalogue: dict[str, Any], expanded: bool) -> None:
    """What to run, and the button that starts it."""
    base, methods = base_model(summary), catalogue["methods"]
    if any(recipes.needs_base(p["recipe"], methods) for p in catalogue["presets"]):
        label = "Base model: " + ("chosen" if base else "none")
        with st.popover(label, type="tertiary", icon=":material/foundation:", key="expert-base"):
            base_select(summary)
    with st.expander("A new leaderboard", icon=":material/playlist_add:", expanded=expanded):
        chosen = leaderboard_form(catalogue, facts(summary))
        common = {"parents": summary["id"], "data": state.get("data"), "test": state.get("test")}
        arguments = {**common, **(chosen or {})} | ({"base": base} if base else {})
        if progress.pressed(
            "Start", "start-board", type="primary", icon=":material/leaderboard:", disabled=chosen is None
        ) and chosen:
            start(arguments)
            st.rerun()


def start(arguments: dict[str, Any]) -> None:
    """Hand the job over and remember its run in the URL."""
    state.put(board=progress.submit("leaderboard", arguments))
    state.forget("entry")


def choose_board(runs: list[dict[str, Any]]) -> str:
    """The leaderboard to show: the one in the URL, else the newest."""
    names = {run["id"]: _name(run) for run in runs}
    if len(runs) > 1:
        pickers.select("board", "Leaderboard", names, "Choose a leaderboard", otherwise=next(iter(names)))
    return state.choice("board", names)


def _name(run: dict[str, Any]) -> str:
    presets, seeds = run["arguments"].get("presets") or "all", run["arguments"].get("seeds") or [0]
    what = "all recipes" if presets == "all" else count(len(presets), "recipe")
    return f"{when(run['created'])} · {what} · {count(len(seeds), 'seed')}"


def follow(run: str) -> None:
    """The board, drawn again and again while rows come."""
    (board if client.status(run)["state"] in client.FINISHED else live)(run)


@st.fragment(run_every=EVERY)
def live(run: str) -> None:
    if client.status(run)["state"] in client.FINISHED:
        st.rerun()
    board(run)


def board(run: str) -> None:
    """How far the run is, its table and picture, and one recipe in detail."""
    status = client.status(run)
    found = existing(store.read_leaderboard, run)
    how_far(run, status, found)
    if found is None:
        return
    key = f"{run}-{found['done']}"
    st.header("Accuracy against time", anchor=False)
    chart = front_chart(found["entries"], found["references"], state.get("entry"))
    show(chart, "Dots: accuracy of each recipe against its seconds; lines: the references", f"front-{run}")
    if found.get("pays"):  # older boards lack it
        st.markdown(f":material/balance: {plain(found['pays'])}")
    st.header("Best first", anchor=False)
    standings_table(found, f"table-{key}")
    if without := {e["label"]: e["reason"] for e in found["entries"] if e["state"] in ("failed", "unavailable")}:
        with st.expander(f"Why {count(len(without), 'recipe')} did not run", icon=":material/block:"):
            reasons(without)
    with st.container(horizontal=True):
        st.download_button(
            "Table (CSV)", as_csv(found), file_name(run, "csv"), "text/csv", icon=":material/download:",
            on_click="ignore", key=f"csv-{run}",
        )
        st.download_button(
            "All rows (JSON)", client.result_path(run, "leaderboard.json").read_bytes, file_name(run, "json"),
            "application/json", icon=":material/data_object:", on_click="ignore", key=f"json-{run}",
        )
    labels = [entry["label"] for entry in found["entries"]]
    entry = next((e for e in found["entries"] if e["label"] == state.get("entry")), found["entries"][0])
    with st.container(border=True, key="entry-panel"):
        title, button = st.columns([5, 1.4], vertical_alignment="bottom")
        with title:
            st.selectbox("Look closer at", labels, **state.bound("entry", "pick-board-entry", entry["label"]))
        if button.button(
            "Open in Fuse", icon=":material/merge:", width="stretch", key=f"open-{run}",
            on_click=take_to_fuse, args=(run, entry),
        ):
            st.switch_page("pages/fuse.py")
        if score_of(entry):
            open_row(run, entry)
        details(found, entry, f"{key}-{entry['label']}")


def how_far(run: str, status: dict[str, Any], found: dict[str, Any] | None) -> None:
    """One line and a bar: at work with Cancel, or stopped with Resume."""
    rows = f"{found['done']} of {found['total']} rows" if found else "planning"
    at_work = status["state"] not in client.FINISHED
    failed = [entry for entry in (found or {}).get("entries", ()) if entry["state"] == "failed"]
    if status["state"] == "done" and not failed:
        st.caption(f":material/check_circle: {rows}, done in {seconds(status['ended'] - status['started'])}.")
        return
    with st.container(border=True, key="how-far"):
        text, button = st.columns([6, 1.3], vertical_alignment="center")
        if at_work:
            text.markdown(f"**Fusing** · {rows}")
            button.button("Cancel", key=f"cancel-{run}", on_click=client.cancel, args=(run,), width="stretch")
            st.progress(found["done"] / found["total"] if found else 0.0)
            st.caption(plain(status["message"]) or "Waiting for a free worker.")
            return
        if status["state"] == "failed":
            text.markdown(f":material/error: {plain(status['error'])} · {rows}")
        elif status["state"] == "done":
            text.markdown(f":material/error: {count(len(failed), 'recipe')} failed · {rows}")
        else:
            text.markdown(f":material/pause_circle: Stopped after {rows}. Nothing of it is lost.")
        button.button("Resume", key=f"resume-{run}", on_click=resume, args=(run,), icon=":material/play_arrow:",
                      width="stretch", help="Rows that are done stay; the others are run, failed ones again.")


def resume(run: str) -> None:
    with told():
        client.resume(run)


def take_to_fuse(run: str, entry: dict[str, Any]) -> None:
    """Put this recipe, and the leaderboard's samples and first seed, where the Fuse page finds them."""
    catalogue, arguments = client.catalogue() or {}, store.read_job(run)["arguments"]
    Draft(catalogue["presets"], catalogue["methods"]).take(entry["preset"], entry["recipe"])
    state.put(samples=arguments.get("samples") or "all", seed=(arguments.get("seeds") or [0])[0])
    state.forget("job")


router.enter()
heading("Leaderboard", "Every [recipe] on the same [parents] and data: how accurate, how sure, how fast.")
summary = pickers.parents_or_empty("There are no parents to compare recipes on yet.")
pickers.context(summary, test=True)
if not state.get("data") or not state.get("test"):
    empty("A leaderboard fuses with calibration data and measures on test data: choose both.", "parents", "Choose data")
progress.wait_for_service()
runs = [run for run in store.list_runs("leaderboard") if run["arguments"]["parents"] == summary["id"]]
choose(summary, client.catalogue() or {}, expanded=not runs)
if runs:
    follow(choose_board(runs))
