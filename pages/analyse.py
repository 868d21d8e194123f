"""Analyse: why a fusion works or not: where accuracy is lost, what parents know, barriers, similarity."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.jobs import client
from pages.components.analysis import analysis_view
from pages.components.inputs import pickers
from pages.components.run import progress
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, heading, next_steps
from pages.components.shared.text import plain

SAMPLES = (400, 1000, 4000, None)
NONE = "none"


def choose_fusion(parents: str) -> str | None:
    """The fused network to analyse with the parents: the one in the URL, else the one just fused, else the newest."""
    runs = {
        run["id"]: run for run in store.list_runs("fuse")
        if run["state"] == "done" and run["arguments"]["parents"] == parents
    }
    options = [*runs, NONE]
    wanted = [state.get("fusion"), state.get("run"), options[0]]
    st.session_state["analyse-fusion"] = next(name for name in wanted if name in options)
    names = pickers.run_labels(runs.values()) | {NONE: "None: the parents alone"}
    st.selectbox(
        "Fused network", options, format_func=names.__getitem__, key="analyse-fusion",
        on_change=lambda: state.put(fusion=st.session_state["analyse-fusion"]),
    )
    chosen = str(st.session_state["analyse-fusion"])
    return None if chosen == NONE else chosen


def choose_align(methods: list[dict[str, Any]]) -> str:
    """The grouping that pairs neurons for the aligned paths."""
    titles = {m["name"]: m["title"] for m in methods if m["pairs"] and m["name"] != "identity"}
    usual = "balanced" if "balanced" in titles else next(iter(titles))
    current = state.get("align", usual)
    st.session_state["analyse-align"] = current if current in titles else usual
    st.selectbox(
        "Align by", list(titles), format_func=titles.__getitem__, key="analyse-align",
        on_change=lambda: state.put(align=st.session_state["analyse-align"]),
        help="How neurons of two networks are paired before their weights are averaged.",
    )
    return str(st.session_state["analyse-align"])


def choose_samples() -> int | None:
    """How many samples to measure on."""
    current = next((n for n in SAMPLES if str(n or "all") == state.get("take")), 1000)
    st.session_state["analyse-take"] = current
    st.selectbox(
        "Samples", SAMPLES, format_func=lambda n: "All" if n is None else f"{n:,}", key="analyse-take",
        on_change=lambda: state.put(take=str(st.session_state["analyse-take"] or "all")),
    )
    return st.session_state["analyse-take"]


def choose_settings(summary: dict[str, Any], catalogue: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the job."""
    columns = st.columns([4, 4, 2, 3])
    with columns[0]:
        fusion = choose_fusion(summary["id"])
    with columns[1]:
        if not state.get("on"):
            state.put(on=state.get("test") or state.get("data"))
        pickers.data_select("on", "Measure on")
    with columns[2]:
        samples = choose_samples()
    with columns[3]:
        align = choose_align(catalogue["methods"]["grouping"])
    return {
        "parents": summary["id"], "data": state.get("on"), "run": fusion, "align": align,
        "samples": samples, "seed": state.number("seed", 0),
    }


def start(arguments: dict[str, Any]) -> None:
    """Hand the analysis over and remember it and its fusion in the URL."""
    state.put(analysis=progress.submit("analyse", arguments), fusion=arguments["run"] or NONE)


def known(run: str) -> dict[str, Any] | None:
    """The arguments of an analysis, if there is one of this id."""
    try:
        job = store.read_job(run)
    except FusionError:
        return None
    return dict(job["arguments"]) if job["kind"] == "analyse" else None


router.enter()
heading(
    "Analyse", "Why a fusion works or does not: where accuracy is lost, what each parent knows, how alike they are."
)
summary = pickers.selected_parents()
if summary is None:
    empty("There are no parents to analyse yet.", "parents", "Choose parents")
pickers.context(summary)
if not (state.get("test") or state.get("data") or state.get("on")):
    empty("An analysis measures the parents on data: choose some for them.", "parents", "Choose data")
progress.wait_for_service()
arguments = choose_settings(summary, client.catalogue() or {})
run = state.get("analysis")
made = known(run) if run else None
if made is not None and made["parents"] != arguments["parents"]:
    made = None
with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
    if progress.pressed(
        "Analyse", "analyse", type="secondary" if made == arguments else "primary", icon=":material/troubleshoot:",
        disabled=not arguments["data"],
    ):
        start(arguments)
        st.rerun()
    if made is not None and made != arguments:
        st.caption("The settings have changed; what is below was measured with those before.")
if made is not None:
    try:
        if progress.follow(run, "Analysing", retry=lambda: start(arguments)):
            analysis_view.draw(store.read_result(run), run)
    except FusionError as error:
        st.error(plain(error), icon=":material/error:")
next_steps(explore="See the neurons", compare="Compare fusions")
