"""All fusions in a table: searched, filtered, and chosen from."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.store.shapes import DescribedRun

from ..inputs.pickers import BUILT_IN
from ..run import reports
from ..shared import state
from ..shared.tables import table
from ..shared.text import count, short

FILTERS = ("find", "tag", "made", "of", "filter")
"""Parameters of the address: words, tags, recipe, parents and data."""


def draw(runs: Sequence[DescribedRun], chosen: Sequence[str], choose: Callable[[list[str]], None], most: int) -> None:
    """Filters and table; `choose` is called with what is chosen: at most `most`."""
    found = _filtered(runs)
    if not found:
        st.caption("No run is like that.")
        return
    _table(found, chosen, choose, most)


def _filtered(runs: Sequence[DescribedRun]) -> list[DescribedRun]:
    words, tags, recipe, parents, data = st.columns([3, 3, 2, 3, 3])
    words.text_input(
        "Search", placeholder="name, note, tag, recipe, data, id", **state.bound("find", "runs-find", state.get("find"))
    )
    known = store.every_tag(runs)
    wanted = [tag for tag in state.get("tag").split(",") if tag in known]
    tags.multiselect(
        "Tags", known, placeholder="Any",
        **state.bound("tag", "runs-tag", wanted, lambda chosen: ",".join(chosen) or None),
    )
    with recipe:
        made = _one_of("made", "Recipe", {run["recipe"]: run["recipe"] for run in runs})
    with parents:
        of = _one_of("of", "Parents", {run["arguments"]["parents"]: run["names"]["parents"] for run in runs})
    with data:
        on = _one_of("filter", "Data or test data", {
            run["arguments"][key]: _data_name(run, key) for run in runs for key in ("data", "test")
            if run["arguments"].get(key)
        })
    return store.find_runs(
        state.get("find"), tags=wanted, recipe=made or "", parents=of or "", data=on or "", runs=runs
    )


def _one_of(key: str, label: str, known: dict[str, str]) -> str | None:
    options = {"": "Any"} | known
    chosen: str = st.selectbox(
        label, list(options), format_func=lambda value: short(options[value], 48),
        **state.bound(key, f"runs-{key}", state.choice(key, options), lambda value: value or None),
    )
    return chosen or None


def _data_name(run: DescribedRun, key: str) -> str:
    return BUILT_IN.get(run["names"][key], run["names"][key])


def _table(
    found: Sequence[DescribedRun], chosen: Sequence[str], choose: Callable[[list[str]], None], most: int
) -> None:
    shown = [run["id"] for run in found]
    # A new table for what is chosen elsewhere, as a selection cannot be set; it begins with what is chosen.
    key = f"runs-table-{hash((tuple(shown), tuple(chosen)))}"

    def picked() -> None:
        hidden = [run for run in chosen if run not in shown]
        rows = [shown[row] for row in st.session_state[key]["selection"]["rows"]]
        first = [run for run in chosen if run in rows]  # the order of what was chosen stays
        choose([*hidden, *first, *(run for run in rows if run not in first)][:most])

    table(
        [_row(run) for run in found],
        alt="Runs with their names, tags, recipes, parents, data, accuracy, date and note", key=key, on_select=picked,
        selection_mode="multi-row", height=min(38 + 35 * len(found), 388),
        selection_default={"selection": {"rows": [shown.index(run) for run in chosen if run in shown]}},
        column_config={
            "Name": st.column_config.TextColumn(width="medium"), "Recipe": st.column_config.TextColumn(width="small"),
            "Made": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
    )
    st.caption(f"{count(len(found), 'run')}. Tick up to {most}; the others stand against the first that was ticked.")


def _row(run: DescribedRun) -> dict[str, Any]:
    about, figures = run["about"], _figures(run["id"])
    return {
        "Name": about["name"] or "–", "Recipe": run["recipe"], "Fused": figures[0], "Best parent": figures[1],
        "Tags": about["tags"], "Parents": short(run["names"]["parents"], 40),
        "Data": short(_data_name(run, "data"), 40),
        "Test data": short(_data_name(run, "test"), 40) or "–", "Seed": run["arguments"].get("seed") or 0,
        "Made": datetime.fromtimestamp(run["created"]), "Note": about["note"].partition("\n")[0],
    }


@st.cache_data(max_entries=5000, show_spinner=False)
def _figures(run: str) -> tuple[str, str]:
    """The fused network's figure and the best parent's, as text. Reports never change, so they may be kept."""
    try:
        report = store.read_report(run)
    except FusionError:
        return "–", "–"
    metric = reports.metric_of(report)
    own = (report.get("fused") or {}).get(metric)
    return reports.score_text(own, metric), reports.score_text(reports.best_parent(report), metric)
