"""Fuse with the edits: from the run whose groups are shown, or by the methods that made them; and what came of it."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.store.shapes import Job

from ..run import progress, reports
from ..shared import state
from ..shared.page_frame import existing
from ..shared.space import SpaceView
from ..shared.text import count, plain
from . import edit_list

# What explored groups are solved with, as no recipe says it: the first preset's way.
_PRESET, _SAMPLES = "kf_linear", 400
_MOVED = "explore-moved-on"


def draw(view: SpaceView) -> None:
    """A button that fuses, its job, and accuracy before and after."""
    edits = edit_list.current()
    if edits:
        job = store.read_job(view.run)
        from_run = job["kind"] == "fuse"
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            pressed = progress.pressed(
                "Fuse from here" if from_run else "Fuse with these edits", "fuse-again", type="primary",
                icon=":material/merge:",
            )
            st.caption(
                f"Levels before the first edited one are kept from {plain(view.run)}." if from_run else
                f"Grouped as here, with the edits; solved as the preset {_PRESET} does."
            )
        if pressed and (run := progress.submit("fuse", arguments(job, edits))):
            state.put(again=run)
    if run := state.get("again"):
        _result(run, edits)


def arguments(job: Job, edits: edit_list.Edits) -> dict[str, Any]:
    """Of the fuse job that adds these edits to what an explore or fuse run has grouped."""
    given = dict(job["arguments"])
    if job["kind"] == "fuse":
        recipe = dict(store.read_report(job["id"])["recipe"])
        return {**given, "recipe": {**recipe, "edits": [*recipe.get("edits", []), *edits]}, "from_run": job["id"]}
    preset = next(p for p in (client.catalogue() or {})["presets"] if p["name"] == _PRESET)
    found = store.read_explore(job["id"])
    recipe = {
        **preset["recipe"], "name": "edited", "importance": found["importance"], "grouping": found["grouping"],
        "edits": edits,
    }
    kept = {name: given[name] for name in ("parents", "data", "seed") if name in given}
    return {**kept, "samples": given.get("samples", _SAMPLES), "test": state.get("test") or None, "recipe": recipe}


def _result(run: str, edits: edit_list.Edits) -> None:
    job = existing(store.read_job, run)
    if job is None or job["kind"] != "fuse" or job["arguments"]["parents"] != state.get("parents"):
        return
    if not progress.follow(run, "Fusing with the edits"):
        return
    report = store.read_report(run)
    done = len(report["recipe"].get("edits", []))
    with st.container(border=True, key="fused-again"):
        st.markdown(f"**Fused with {count(done, 'edit')}**")
        if edits and report["recipe"].get("edits", [])[-len(edits):] != edits:
            st.caption(":material/history: The edits have changed since: fuse again to see what they give.")
        columns = st.columns(3)
        before = job["arguments"].get("from_run")
        metric = reports.metric_of(report)
        old = _score(existing(store.read_report, before), metric) if before else None
        new = _score(report, metric)
        name, is_share = reports.METRICS[metric], metric == "accuracy"
        columns[0].metric(
            f"{name} before", reports.score_text(old, metric, 1), help="Of the fusion whose groups were edited."
        )
        change = None
        if old is not None and new is not None:
            change = f"{100 * (new - old):+.2f} points" if is_share else f"{new - old:+.3f}"
        columns[1].metric(
            "after", reports.score_text(new, metric, 1), change,
            delta_color="inverse" if metric == "perplexity" else "normal",
        )
        columns[2].metric("Best parent", reports.score_text(reports.best_parent(report), metric, 1))
        if new is None:
            st.caption("No test data is chosen, so accuracies are not known.")
        if run != state.get("run") or state.get("edits"):
            st.button("Show its groups", key="show-again", icon=":material/visibility:", on_click=_show, args=(run,))


def _score(report: dict[str, Any] | None, metric: str) -> float | None:
    found = None if report is None else report.get("fused", {}).get(metric)
    return None if found is None else float(found)


def _show(run: str) -> None:
    """Look at the new fusion; its edits are part of its recipe now."""
    edit_list.clear()
    state.put(run=run, source="run")
    st.session_state[_MOVED] = True


def moved_on() -> bool:
    """Whether another run has been chosen inside the fragment: what is around that is still of the run before."""
    return bool(st.session_state.pop(_MOVED, False))
