"""Difference: which layers of two networks differ, parents or fused ones, by weights and by features."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from pages.components.compare import difference_view
from pages.components.inputs import pickers
from pages.components.inputs.sample_number import available
from pages.components.run import progress
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, existing, heading, next_steps, told
from pages.components.shared.text import plain, short

MOST = 1000
NO_DATA = "none"


def networks() -> dict[str, str]:
    """Labels of all networks in the store, by what a job calls them: fused ones, then parents, those in view first."""
    runs = {run["id"]: run for run in store.find_runs(state="done")}
    labels = {run: f"Fused: {label}" for run, label in pickers.run_labels(runs.values()).items()}
    sets = sorted(store.list_parents(1), key=lambda summary: summary["id"] != state.get("parents"))
    for summary in sets:
        for number, parent in enumerate(summary["parents"]):
            labels[f"{summary['id']}.{number}"] = f"{short(parent['name'], 40)} · of {short(summary['name'], 32)}"
    return labels


def begin(known: dict[str, str]) -> tuple[str, str]:
    """The networks of the address; else the run in view and its first parent, or the first two parents."""
    run = state.get("run")
    parents = existing(store.read_job, run)["arguments"]["parents"] if run in known else state.get("parents")
    usual = [name for name in (run, f"{parents}.0", f"{parents}.1") if name in known]
    usual += [name for name in known if name not in usual]
    first = state.get("first") if state.get("first") in known else usual[0]
    second = state.get("second")
    return first, second if second in known else next(name for name in usual if name != first)


def choose(known: dict[str, str]) -> dict[str, Any]:
    first, second = begin(known)
    columns = st.columns([5, 5, 4, 3])
    with columns[0]:
        pickers.select("first", "Network", known, "Choose a network", otherwise=first)
    with columns[1]:
        pickers.select("second", "Against", known, "Choose a network", otherwise=second)
    with columns[2]:
        on = state.get("features") or state.get("test") or state.get("data") or NO_DATA
        offered = {NO_DATA: "Nothing: weights alone"} | pickers.all_data()
        pickers.select("features", "Features on", offered, "Choose data", otherwise=on if on in offered else NO_DATA)
        on = None if on == NO_DATA or on not in offered else on
    with columns[3]:
        align = choose_align(on is not None)
    there = available(on) if on else None
    samples = MOST if on and (there is None or there > MOST) else None
    return {"first": first, "second": second, "data": on, "align": align, "samples": samples, "seed": 0}


def choose_align(samples: bool) -> str:
    """The grouping that pairs neurons; those that look at samples are offered where there are some."""
    titles = pickers.pairings((client.catalogue() or {})["methods"]["grouping"])
    if not samples:
        titles = {name: title for name, title in titles.items() if name == "weight_matching"}
    options = {"auto": "Automatic", "none": "Not aligned"} | titles
    chosen: str = st.selectbox(
        "Align neurons by", list(options), format_func=options.__getitem__,
        help="Neurons of the second network are brought into the order of the first's before weights are compared. "
        "Automatic: balanced groups with data, weight matching without.",
        **state.bound("pairing", "difference-align", state.choice("pairing", options)),
    )
    return chosen


router.enter()
heading("Difference", "Two networks beside each other: which layers differ, by their weights and by their features.")
known = networks()
if len(known) < 2:
    empty("There are no two networks yet.", "parents", "Choose parents")
progress.wait_for_service()
asked = choose(known)
if asked["first"] == asked["second"]:
    st.info("A network does not differ from itself: choose another.")
    st.stop()
run = state.get("difference")
job = existing(store.read_job, run) if run else None
made = job is not None and job["kind"] == "difference" and job["arguments"] == asked
with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
    pressed = progress.pressed(
        "Compare", "difference", type="secondary" if made else "primary", icon=":material/difference:"
    )
    if job is not None and not made:
        st.caption("What is chosen has changed; compare again to see it.")
if pressed and (submitted := progress.submit("difference", asked)):
    state.put(difference=submitted, first=asked["first"], second=asked["second"])
    st.rerun()
if made:
    st.markdown(f"**{plain(known[asked['second']])}** against **{plain(known[asked['first']])}**")
    with told():
        if progress.follow(run, "Comparing", retry=lambda: state.forget("difference")):
            difference_view.draw(store.read_result(run), run)
next_steps(compare="Compare fusions", explore="See the neurons")
