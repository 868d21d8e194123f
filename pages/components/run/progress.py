"""Following a job: a live panel while it runs, one clear line when it failed. Polls in a fragment, never blocks."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..shared.page_frame import told
from ..shared.text import plain, seconds
from . import level_progress, level_runs

_EVERY = 0.4


def pressed(label: str, key: str, **about: Any) -> bool:
    """A button that starts a job; whether it was just pressed. For what is chosen now: a callback's arguments would be
    those of the page as it was last drawn, before a choice that was made just before the click."""
    st.button(label, key=key, on_click=lambda: st.session_state.update({_flag(key): True}), **about)
    return bool(st.session_state.pop(_flag(key), False))


def is_pressed(key: str) -> bool:
    """Whether `pressed` is going to say so of this button, further down the page."""
    return _flag(key) in st.session_state


def _flag(key: str) -> str:
    return f"{key}-pressed"


def follow(run: str, title: str, retry: Callable[[], None] | None = None, cancel: bool = True) -> bool:
    """Whether the job is done. If not, draw its live progress, or why it ended, and return False.

    `retry` is offered as a button when the job failed or was cancelled.
    """
    status = client.status(run)
    state = status["state"]
    if state == "done":
        return True
    if state not in client.FINISHED:
        _live(run, title, cancel)
        return False
    if state == "failed":
        st.error(plain(status["error"] or "the job failed"), icon=":material/error:")
    else:
        st.info("Cancelled. Nothing was kept of it.", icon=":material/cancel:")
    if retry is not None:
        st.button("Try again", on_click=retry, key=f"retry-{run}", icon=":material/refresh:")
    return False


@st.fragment(run_every=_EVERY)
def _live(run: str, title: str, cancel: bool) -> None:
    status = client.status(run)
    if status["state"] in client.FINISHED:
        st.rerun()
    with st.container(border=True, key=f"progress-{run}"):
        head, button = st.columns([6, 1], vertical_alignment="center")
        since = status["started"]
        spent = f" · {seconds(max(0.0, time.time() - since))}" if since else ""
        head.markdown(f"**{plain(title)}**{spent}{left(store.read_job(run), status)}")
        if cancel:
            button.button(
                "Cancel", key=f"cancel-{run}", on_click=client.cancel, args=(run,), width="stretch", type="tertiary"
            )
        st.progress(min(1.0, max(0.0, float(status["fraction"]))))
        if status["state"] == "queued":
            st.caption("Waiting for a free worker.")
        else:
            events = client.events(run)
            st.caption(_stages(events) or "Starting.")
            _each_parent(run, events)
            levels = level_runs.from_events(events)
            levels += level_runs.steps_from_events(events, len(levels))
            if levels:
                level_progress.draw(levels, run, solved=not any(level.curve for level in levels))


def left(job: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """' · about 3 s left', from what such jobs took; '' where that is not known, or is over."""
    known: dict[str, store.Expected | None] = st.session_state.setdefault("expected", {})
    if job["id"] not in known:
        known[job["id"]] = store.expected(job["kind"], job["arguments"])
    usual = known[job["id"]]
    rest = usual.seconds - (time.time() - status["started"]) if usual and status["started"] else 0.0
    return f" · about {about(rest)} left" if rest > 0.5 else ""


def about(duration: float) -> str:
    """A duration that is not known better: '4 s'."""
    return f"{max(1, round(duration))}\u202fs" if duration < 90 else seconds(duration)


def _each_parent(run: str, events: list[dict[str, Any]]) -> None:
    """While parents are trained one after the other: a bar for each."""
    if not events or "parent" not in (events[-1]["detail"] or {}):
        return
    count = int(store.read_job(run)["arguments"].get("parents", 2))
    losses = {e["detail"]["parent"]: e["detail"].get("loss") for e in events if "parent" in e["detail"]}
    # Each parent has an equal share of the whole.
    done = float(events[-1]["fraction"]) * count
    for number, column in enumerate(st.columns(count)):
        loss = losses.get(number)
        note = "waiting" if loss is None else f"loss {loss:.3f}"
        column.progress(min(1.0, max(0.0, done - number)), text=f"Parent {number} · {note}")


def _stages(events: list[dict[str, Any]]) -> str:
    """The stages so far, the last with its message: 'verify ✓ · importance ✓ · **solve** layer 2 of 3'."""
    names = list(dict.fromkeys(e["stage"] for e in events if e["stage"] and e["stage"] != "starting"))
    if not names:
        return ""
    latest = events[-1]
    done = [f"{plain(name)} ✓" for name in names if name != latest["stage"]]
    return " · ".join([*done, f"**{plain(latest['stage'])}** {plain(latest['message'] or '')}".strip()])


def submit(kind: str, arguments: dict[str, Any]) -> str | None:
    """Hand a job over; its run id, or None after showing in one line why that did not work."""
    with told():
        return client.submit(kind, arguments)
    return None


def submit_upload(files: Sequence[Any], kind: str, arguments: dict[str, Any]) -> str | None:
    """Put uploaded files into the store and hand over the job that reads them; as `submit`."""
    with told():
        upload = store.save_upload([(file.name, file.getbuffer()) for file in files])
        return client.submit(kind, {"upload": upload, **arguments})
    return None


def remembered(kind: str, arguments: dict[str, Any]) -> str | None:
    """The run of a cached job, handed over once a session: one that failed is not tried again at every redraw."""
    runs: dict[str, str] = st.session_state.setdefault("cached-runs", {})
    key = json.dumps([kind, arguments], sort_keys=True)
    if key not in runs:
        wait_for_service()
        if run := submit(kind, arguments):
            runs[key] = run
    return runs.get(key)


@st.fragment(run_every=_EVERY)
def redraw_when_ended(run: str) -> None:
    """Draw the page again when the job has ended; nothing is shown of it meanwhile."""
    if client.status(run)["state"] in client.FINISHED:
        st.rerun()


def try_again(run: str) -> None:
    """Forget a remembered run, so that the next redraw hands its job over anew."""
    runs: dict[str, str] = st.session_state.get("cached-runs", {})
    st.session_state["cached-runs"] = {key: kept for key, kept in runs.items() if kept != run}


def wait_for_service() -> None:
    """Stop the page with a note until the job service answers and has written the catalogue."""
    if not _ready():
        _starting()
        st.stop()


def _ready() -> bool:
    return client.is_running() and client.catalogue() is not None


@st.fragment(run_every=0.5)
def _starting() -> None:
    if _ready():
        st.rerun()
    with st.container(border=True):
        st.markdown("**Starting the job service**")
        st.caption("It loads the numerical libraries once; this takes a few seconds.")
