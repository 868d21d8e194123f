"""Share: a project as one file to another store, a run as a report that opens offline, or as Python."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.sharing.html_report import run_report
from fusion_engine.sharing.snippet import notebook
from pages.components.inputs import pickers
from pages.components.run import progress
from pages.components.run.downloads import file_name
from pages.components.shared import router, state
from pages.components.shared.page_frame import heading, job_of, next_steps, told
from pages.components.shared.text import count, megabytes, plain
from pages.components.sharing.snippets import run_snippet

KINDS = {
    "fuse": "Fusion", "leaderboard": "Leaderboard", "search": "Search", "analyse": "Analysis", "explore": "Groups",
    "embed": "Map of neurons", "evaluate": "Measurement",
}


def export() -> None:
    """Choose what goes along, make the bundle, download it."""
    st.header("Export a project", anchor=False)
    st.caption("A bundle holds parents, data, and runs with recipes, edits, names and notes; no selections of neurons.")
    pickers.parents_select()
    summary = pickers.selected_parents()
    if summary is None:
        st.caption("Choose the parents that it is about.")
        return
    runs = [
        run for run in store.list_runs()
        if run["kind"] in KINDS and run["state"] == "done" and run["arguments"].get("parents") == summary["id"]
    ]
    names = {run["id"]: pickers.run_label(run, KINDS[run["kind"]], run["id"][-4:]) for run in runs}
    # What is taken out is in the address: runs that are made later go along.
    without = state.get("without").split(",")
    chosen = st.multiselect(
        "Runs", list(names), format_func=names.__getitem__, placeholder="No runs: parents alone",
        help="All finished ones about these parents, unless you take some out.",
        **state.bound(
            "without", f"share-runs-{summary['id']}", [run for run in names if run not in without],
            lambda kept: ",".join(run for run in names if run not in kept) or None,
        ),
    )
    with st.container(horizontal=True, gap="medium"):
        weights = _switch("weights", "Parents' weights",
                          "Without them whoever imports the bundle needs the same parents already.")
        data = _switch("dataset", "Data", "Without it whoever imports the bundle needs the same data sets already.")
    if progress.pressed("Make the bundle", "share-export", type="primary", icon=":material/archive:"):
        arguments = {
            "parents": summary["id"], "runs": chosen if len(chosen) < len(runs) else None, "with_parents": weights,
            "with_data": data,
        }
        if run := progress.submit("export_bundle", arguments):
            state.put(sharing=run)
            st.rerun()


def _switch(key: str, label: str, says: str) -> bool:
    """On unless the address says no."""
    bound = state.bound(key, f"share-{key}", state.get(key) != "no", lambda on: None if on else "no")
    return st.toggle(label, help=says, **bound)


def bring_in() -> None:
    """Upload a bundle; it is checked before anything changes."""
    st.header("Import a project", anchor=False)
    st.caption("It is read as data, and checked as a whole before anything here changes. What is here already stays.")
    file = st.file_uploader("A bundle (.zip)", type=["zip"], key="share-file")
    pressed = st.button(
        "Import", type="primary", disabled=file is None, key="share-import", icon=":material/unarchive:"
    )
    if pressed and (run := progress.submit_upload([file], "import_bundle", {})):
        state.put(sharing=run)
        st.rerun()


def follow(run: str) -> None:
    """The export or import that the address names, and what came of it."""
    importing = job_of(run, "export_bundle", "import_bundle")["kind"] == "import_bundle"
    if not progress.follow(run, "Reading the bundle" if importing else "Making the bundle"):
        return
    found = store.read_result(run)
    with st.container(border=True, key="shared"):
        if importing:
            imported(found)
            return
        path = client.result_path(run, "bundle.zip")
        text = f"{count(len(found['runs']), 'run')}, {megabytes(path.stat().st_size / 2**20)}"
        st.markdown(f":material/archive: **The bundle is there**: {text}.")
        name = store.read_parents_summary(found["parents"][0]["id"])["name"]
        st.download_button(
            "Download the bundle", path.read_bytes, f"{_slug(name)}.zip", "application/zip", on_click="ignore",
            icon=":material/download:", type="primary", key=f"bundle-{run}",
        )


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name).strip("-")[:40] or "project"


def imported(found: Mapping[str, Any]) -> None:
    """What came in, and the way to it."""
    parts = [count(len(found["runs"]), "run"), count(len(found["parents"]), "parent set"),
             count(len(found["data"]), "data set")]
    st.markdown(f":material/check_circle: **Imported**: {', '.join(parts)}.")
    if found["there"]:
        st.caption(f"{count(len(found['there']), 'thing')} of it {'was' if len(found['there']) == 1 else 'were'} here "
                   "already and stay as they are.")
    ids = [*found["runs"], *found["there"]]
    runs = [run for run in store.list_runs("fuse") if run["id"] in ids]
    sets = [one for one in [*found["parents"], *found["there"]] if one in {s["id"] for s in store.list_parents()}]
    if runs:
        arguments = runs[0]["arguments"]
        known = {name: str(arguments[name]) for name in ("parents", "data", "test") if arguments.get(name)}
        next_steps({**known, "run": runs[0]["id"]}, compare="Compare the runs", explore="See the groups", fuse="Fuse")
    elif sets:
        next_steps({"parents": sets[0]}, parents="See the parents")


def one_run() -> None:
    """A run by itself: the report as one file, and as Python."""
    runs = [run for run in store.list_runs("fuse") if run["state"] == "done"]
    st.header("One run", anchor=False)
    if not runs:
        st.caption("No fusion has finished yet.")
        return
    names = pickers.run_labels(runs)
    pickers.select("run", "Run", names, "Choose a run", otherwise=next(iter(names)))
    run = state.choice("run", names)
    with told():
        text = run_snippet(run)
        with st.container(horizontal=True):
            st.download_button(
                "Report (HTML)", lambda: run_report(run), file_name(run, "html"), "text/html", on_click="ignore",
                icon=":material/summarize:", key=f"share-html-{run}", help="Live charts in one file; opens offline.",
            )
            st.download_button(
                "Notebook", notebook(text), file_name(run, "ipynb"), "application/x-ipynb+json", on_click="ignore",
                icon=":material/code_blocks:", key=f"share-notebook-{run}",
            )
        st.code(text, language="python")
        st.caption(plain("Put your own files' paths in place of the names."))


router.enter()
heading("Share", "Take a project to another machine, or a run to somebody who has not got this program.")
progress.wait_for_service()
if state.get("sharing"):
    follow(state.get("sharing"))
left, right = st.columns(2, gap="large")
with left:
    export()
with right:
    bring_in()
one_run()
