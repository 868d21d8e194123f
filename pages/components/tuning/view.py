"""The trials of a search: how far it is, the picture and the table of what a range leaves, one trial in detail."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine.core.recipe import Recipe
from fusion_engine.jobs import client

from ..run.downloads import file_name
from ..run.reports import METRICS, score_text
from ..shared import state
from ..shared.page_frame import told
from ..shared.tables import table as drawn
from ..shared.text import count, plain, seconds
from .axes import Axis, axes, held_by, left, option, read_ranges, tested_by, value_of, written_ranges
from .parallel import parallel


def how_far(run: str, status: Mapping[str, Any], table: Mapping[str, Any] | None) -> None:
    """One line and a bar: at work with Cancel, or stopped with Resume."""
    done = len(table["trials"]) if table else 0
    asked = table["budget"]["trials"] if table else 0
    trials = f"{done} of {count(asked, 'trial')}" if table else "planning"
    if status["state"] == "done" and table:
        early = ", as its time was up" if done < asked else ""
        st.caption(f":material/check_circle: {trials}{early}, in {seconds(table['spent'])} of fusing.")
        return
    with st.container(border=True, key="how-far"):
        text, button = st.columns([6, 1.3], vertical_alignment="center")
        if status["state"] not in client.FINISHED:
            text.markdown(f"**Searching** · {trials}")
            button.button("Cancel", key=f"cancel-{run}", on_click=client.cancel, args=(run,), width="stretch")
            st.progress(min(1.0, float(status["fraction"])))
            st.caption(plain(status["message"]) or "Waiting for a free worker.")
            return
        if status["state"] == "failed":
            text.markdown(f":material/error: {plain(status['error'])} · {trials}")
        else:
            text.markdown(f":material/pause_circle: Stopped after {trials}. Nothing of them is lost.")
        button.button(
            "Resume", key=f"resume-{run}", on_click=_resume, args=(run,), icon=":material/play_arrow:", width="stretch",
            help="Goes on with the trials that it would have made anyway.",
        )


def _resume(run: str) -> None:
    with told():
        client.resume(run)


def trials_view(run: str, table: Mapping[str, Any], open_in_fuse: Callable[[Mapping[str, Any]], None]) -> None:
    """Picture, table and one trial."""
    best = next((trial for trial in table["trials"] if trial["number"] == table["best"]), None)
    if best is None:
        for reason in dict.fromkeys(trial["reason"] for trial in table["trials"]):
            st.error(plain(reason), icon=":material/error:")
        return
    chosen = next((t for t in table["trials"] if t["number"] == state.number("trial", best["number"] + 1) - 1), best)
    _best(table, best)
    _to_fuse(run, table, best, "Best recipe to Fuse", open_in_fuse, primary=True)
    along = axes(table)
    ranges = read_ranges(state.get("ranges"), along)

    def done(what: Mapping[str, Any]) -> None:
        if what["event"] == "pick":
            state.put(trial=int(what["trial"]) + 1)
            return
        axis = next((axis for axis in along if axis.name == what.get("axis")), None)
        if axis is not None:
            rest = {name: ends for name, ends in ranges.items() if name != axis.name}
            if what["low"] is not None:
                rest[axis.name] = axis.value(float(what["low"])), axis.value(float(what["high"]))
            state.put(ranges=written_ranges(rest) or None)

    st.header("All trials", anchor=False)
    st.caption(
        "Every line is a trial; the bluer, the smaller its held-out loss. Orange: the best. Dashed: the one below. "
        "Drag along an axis to keep only trials within a range, in the table too; click a line to see its trial."
    )
    parallel(table, along, ranges, chosen["number"], key=f"parallel-{run}", on_done=done)
    shown = sorted(left(table, along, ranges), key=lambda t: (t["loss"] is None, t["loss"] or 0.0, t["number"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{count(len(shown), 'trial')} of {len(table['trials'])}, the smallest held-out loss first.")
        if ranges:
            st.button("Show all", type="tertiary", icon=":material/close:", on_click=lambda: state.put(ranges=None))
    _table(run, table, along, shown)
    _one(run, table, chosen, open_in_fuse)


def _to_fuse(
    run: str, table: Mapping[str, Any], trial: Mapping[str, Any], label: str,
    open_in_fuse: Callable[[Mapping[str, Any]], None], primary: bool = False,
) -> None:
    """A button that takes a trial's recipe to Fuse."""
    recipe = Recipe.from_mapping(table["recipe"]).set(trial["settings"]).to_mapping()
    if st.button(
        label, type="primary" if primary else "secondary", icon=":material/merge:", key=f"{label}-{run}",
        on_click=open_in_fuse, args=(recipe,), width="content" if primary else "stretch",
    ):
        st.switch_page("pages/fuse.py")


def _best(table: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    metric, first = table["metric"], table["trials"][0]
    columns = st.columns(4)
    gain = None if first["loss"] is None or best is first else f"{best['loss'] - first['loss']:+.4f}"
    columns[0].metric(
        "Best held-out loss", f"{best['loss']:.4f}", gain, delta_color="inverse",
        help="The difference is to the recipe as it was given.",
    )
    columns[1].metric(f"Its held-out {METRICS[metric].lower()}", score_text(held_by(best, metric), metric))
    if table["samples"].get("test"):
        columns[2].metric(
            f"Its test {METRICS[metric].lower()}", score_text(tested_by(best, metric), metric),
            help="Beside the search: the test data chose nothing.",
        )
    columns[3].metric("Found by trial", str(best["number"] + 1))
    for line in table["notes"]:
        st.caption(f":material/info: {plain(line[:1].upper() + line[1:])}.")


def _table(run: str, table: Mapping[str, Any], along: Sequence[Axis], shown: Sequence[Mapping[str, Any]]) -> None:
    metric, rows = table["metric"], []
    for trial in shown:
        again = "" if trial["same_as"] is None else f"as trial {trial['same_as'] + 1}"
        rows.append({
            "Trial": trial["number"] + 1, "Held-out loss": trial["loss"],
            f"Held-out {METRICS[metric].lower()}": score_text(held_by(trial, metric), metric),
            **({f"Test {METRICS[metric].lower()}": score_text(tested_by(trial, metric), metric)}
               if table["samples"].get("test") else {}),
            **{axis.label if [a.label for a in along].count(axis.label) == 1 else axis.name:
               _value(value_of(trial, axis, table)) for axis in along[: len(table["dimensions"])]},
            "Takes": seconds(trial["seconds"]) if trial["same_as"] is None else "–",
            "Note": trial["reason"] or again or ("the recipe as given" if trial["number"] == 0 else ""),
        })
    key = f"trials-{run}-{len(table['trials'])}-{state.get('ranges')}"

    def pick() -> None:
        chosen = st.session_state[key]["selection"]["rows"]
        if chosen and chosen[0] < len(shown):
            state.put(trial=shown[chosen[0]]["number"] + 1)

    drawn(
        rows, alt="Trials within the ranges, by held-out loss, with their settings", key=key, on_select=pick,
        selection_mode="single-row", height=min(38 + 35 * max(1, len(rows)), 390),
        column_config={"Held-out loss": st.column_config.NumberColumn(format="%.4f")},
    )


def _one(
    run: str, table: Mapping[str, Any], trial: Mapping[str, Any], open_in_fuse: Callable[[Mapping[str, Any]], None]
) -> None:
    """One trial: its settings, its recipe as a file, and the way to Fuse."""
    recipe = Recipe.from_mapping(table["recipe"]).set(trial["settings"])
    with st.container(border=True, key="trial-panel"):
        title, save, fuse = st.columns([5, 1.6, 1.6], vertical_alignment="center")
        is_best = trial["number"] == table["best"]
        title.markdown(f"**Trial {trial['number'] + 1}**" + (", the best" if is_best else ""))
        save.download_button(
            "Recipe (YAML)", recipe.to_yaml(), file_name(run, f"trial{trial['number'] + 1}.yaml"), "application/yaml",
            icon=":material/description:", on_click="ignore", key=f"yaml-{run}-{trial['number']}", width="stretch",
        )
        with fuse:
            _to_fuse(run, table, trial, "Open in Fuse", open_in_fuse)
        if trial["reason"]:
            st.caption(f":material/error: {plain(trial['reason'])}")
        changed = [f"{path} = {_value(value)}" for path, value in trial["settings"].items()]
        st.caption(plain(", ".join(changed)) or "The recipe as it was given.")


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else option(value)
