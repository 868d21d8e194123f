"""Analyse: why a fusion works or not: where accuracy is lost, what parents know, barriers, similarity."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from pages.components.analysis import analysis_view
from pages.components.inputs import pickers
from pages.components.inputs.sample_number import available
from pages.components.run import progress
from pages.components.runs import describe
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, existing, heading, next_steps, told
from pages.components.shared.text import size

ALL = 0
SAMPLES = (400, 1000, 4000, ALL)
NONE = "none"


def choose_fusion(parents: str) -> str | None:
    """The fused network to analyse with the parents: the one in the URL, else the one just fused, else the newest."""
    runs = {
        run["id"]: run for run in store.list_runs("fuse")
        if run["state"] == "done" and run["arguments"]["parents"] == parents
    }
    options = [*runs, NONE]
    shown = state.choice("fusion", options, state.get("run"))
    names = pickers.run_labels(runs.values()) | {NONE: "None: the parents alone"}
    chosen = st.selectbox(
        "Fused network", options, format_func=names.__getitem__, **state.bound("fusion", "analyse-fusion", shown)
    )
    if chosen != NONE:
        describe.popover(chosen, "analyse")
    return None if chosen == NONE else chosen


def choose_align(methods: list[dict[str, Any]]) -> str:
    """The grouping that pairs neurons for the aligned paths."""
    titles = pickers.pairings(methods)
    return st.selectbox(
        "Align by", list(titles), format_func=titles.__getitem__,
        help="How neurons of two networks are paired before their weights are averaged.",
        **state.bound("align", "analyse-align", state.choice("align", titles, "balanced")),
    )


def choose_samples(there: int | None) -> int | None:
    """The number of samples to measure on; those that the data set does not have are not offered."""
    # All of them is a number too: of None the list would say that nothing is chosen.
    options = [n for n in SAMPLES if n == ALL or there is None or n < there]
    asked = next((n for n in SAMPLES if str(n or "all") == state.get("take")), 1000)
    chosen: int = st.selectbox(
        "Samples", options, format_func=lambda n: f"{n:,}" if n else "All",
        **state.bound(
            "take", "analyse-take", asked if asked in options else ALL, lambda chosen: str(chosen or "all")
        ),
    )
    if asked not in options and state.get("take"):
        st.caption(f"There are {size(there or 0)}: all are taken.")
    return chosen or None


def choose_settings(summary: dict[str, Any], catalogue: dict[str, Any]) -> dict[str, Any]:
    columns = st.columns([4, 4, 2, 3])
    with columns[0]:
        fusion = choose_fusion(summary["id"])
    with columns[1]:
        on = state.get("on") or state.get("test") or state.get("data")
        pickers.data_select("on", "Measure on", otherwise=on)
    with columns[2], st.container(key="expert-samples"):
        samples = choose_samples(available(on))
    with columns[3], st.container(key="expert-align"):
        align = choose_align(catalogue["methods"]["grouping"])
    return {
        "parents": summary["id"], "data": on, "run": fusion, "align": align,
        "samples": samples, "seed": state.number("seed", 0),
    }


def start(arguments: dict[str, Any]) -> None:
    """Hand the analysis over and remember it and its fusion in the URL."""
    state.put(analysis=progress.submit("analyse", arguments), fusion=arguments["run"] or NONE)


def analysed(run: str, parents: str) -> dict[str, Any] | None:
    """The arguments of an analysis, if there is one of this id and of these parents."""
    job = existing(store.read_job, run) if run else None
    if job is None or job["kind"] != "analyse" or job["arguments"]["parents"] != parents:
        return None
    arguments = dict(job["arguments"])
    taken, there = arguments.get("samples"), available(arguments["data"])
    return arguments | {"samples": None if taken and there and taken >= there else taken}


router.enter()
heading(
    "Analyse", "Why a fusion works or does not: where [accuracy] is lost, what each [parent] knows, how alike they are."
)
summary = pickers.parents_or_empty("There are no parents to analyse yet.")
pickers.context(summary)
if not (state.get("test") or state.get("data") or state.get("on")):
    empty("An analysis measures the parents on data: choose some for them.", "parents", "Choose data")
progress.wait_for_service()
arguments = choose_settings(summary, client.catalogue() or {})
run = state.get("analysis")
made = analysed(run, arguments["parents"])
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
    with told():
        if progress.follow(run, "Analysing", retry=lambda: start(arguments)):
            analysis_view.draw(store.read_result(run), run)
next_steps(explore="See the neurons", compare="Compare fusions")
