"""What is at work, on every page: how many jobs, and on demand which, how far, and where they are shown."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..inputs.pickers import describe_parents
from ..run.progress import left
from ..shared.page_frame import existing
from ..shared.text import percent, plain, seconds, short, when

_BUSY, _IDLE = 1.0, 4.0
_SHOWN = 6
_TITLES = {
    "import_parents": "Read parents", "import_data": "Read data", "preflight": "Check parents",
    "train": "Train parents", "fuse": "Fuse", "explore": "Measure neurons", "analyse": "Analyse",
    "embed": "Draw a map of neurons", "leaderboard": "Leaderboard", "search": "Tune", "evaluate": "Measure accuracy",
    "samples": "Show samples", "difference": "Compare two networks", "export_bundle": "Export a bundle",
    "import_bundle": "Import a bundle", "lesson": "Train on drawn points",
}
_STATES = {"done": ":material/check:", "failed": ":material/error:", "cancelled": ":material/cancel:"}
_PLACES = {  # the page that shows a job of a kind, and what the job is called in that page's address
    "import_parents": ("parents", "import"), "import_data": ("parents", "import"), "train": ("parents", "import"),
    "preflight": ("parents", None), "fuse": ("fuse", "job"), "explore": ("explore", None),
    "analyse": ("analyse", "analysis"), "leaderboard": ("leaderboard", "board"),
    "search": ("tune", "search"), "export_bundle": ("share", "sharing"), "import_bundle": ("share", "sharing"),
    "lesson": ("learn", "drawn"),
}
_KEPT = ("parents", "data", "test", "importance", "grouping", "seed")


def draw() -> None:
    """The sign in the frame's corner. It looks at the store again and again, more often while jobs are at work."""
    st.fragment(run_every=_BUSY if store.unfinished_runs() else _IDLE)(_sign)()


def _sign() -> None:
    going = store.unfinished_runs()
    with st.container(key="jobs"), st.popover(
        f"{len(going)} running" if going else "Jobs", type="tertiary", key="jobs-list",
        icon="spinner" if going else ":material/list:",
    ):
        if not going:
            st.caption("No job is at work.")
        for run in going:
            _at_work(run)
        if ended := [run for run in store.latest_runs(_SHOWN + len(going)) if run["state"] in store.FINISHED][:_SHOWN]:
            st.markdown("**Ended**")
            for run in ended:
                took = f" · {seconds(run['ended'] - run['started'])}" if run["ended"] and run["started"] else ""
                _line(run, f"{_STATES[run['state']]} {when(run['created'])} · ", took)


def _at_work(run: Mapping[str, Any]) -> None:
    status = client.status(run["id"])
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(width="stretch", gap=None):
            _line(run, "", "")
            text = "Waiting for a free worker" if status["state"] == "queued" else status["stage"] or "Starting"
            share = float(status["fraction"])
            st.progress(min(1.0, max(0.0, share)), text=f"{plain(text)} · {percent(share, 0)}{left(run, status)}")
        st.button("Cancel", key=f"jobs-cancel-{run['id']}", on_click=client.cancel, args=(run["id"],), type="tertiary")


def _line(run: Mapping[str, Any], before: str, after: str) -> None:
    """What the job does, as a link to the page that shows it."""
    about = existing(store.read_about, run["id"])
    named = f" · **{plain(about['name'])}**" if about and about["name"] else ""
    text = f"{before}{_TITLES.get(run['kind'], plain(run['kind']))}{named}{_about(run['arguments'])}{after}"
    page, name = _PLACES.get(run["kind"], (None, None))
    # An import that is done has become the chosen parents or data; its progress is all its page would show.
    if page is None or (name == "import" and run["state"] in store.FINISHED):
        st.caption(text)
        return
    parameters = {key: str(run["arguments"][key]) for key in _KEPT if _identifies(key, run["arguments"].get(key))}
    st.page_link(f"pages/{page}.py", label=text, query_params=parameters | ({name: run["id"]} if name else {}))


def _identifies(key: str, value: Any) -> bool:
    """Whether a job's argument can go into an address as it is: to a training, `parents` is their number."""
    return type(value) is int if key == "seed" else isinstance(value, str) and value != ""


def _about(arguments: Mapping[str, Any]) -> str:
    """' · kf_linear · demo · 4 × mlp': the recipe and the parents."""
    recipe, parents = arguments.get("recipe"), arguments.get("parents")
    name = recipe.get("name", "custom") if isinstance(recipe, Mapping) else recipe
    summary = existing(store.read_parents_summary, parents) if isinstance(parents, str) else None
    parts = [name or arguments.get("arch") or "", describe_parents(summary) if summary else ""]
    return "".join(f" · {plain(short(part, 32))}" for part in parts if part)
