"""What the app and scripts use to start work and follow it. Imports neither torch, umap nor sklearn.

    run = submit("fuse", {"parents": parents, "data": data, "recipe": "kf_linear"})
    while status(run)["state"] not in FINISHED: ...
    report = store.read_report(run)

Submitting talks to the job service (starting it if none answers); everything else reads the store, so a page
that was reloaded, or a second browser, finds a job by its id alone.
"""

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine import __version__, store
from fusion_engine.core.errors import JobError, StoreError
from fusion_engine.store import FINISHED
from fusion_engine.store.files import write_bytes
from fusion_engine.store.shapes import Event

from .kinds import KINDS
from .service import connect, tasks
from .service.workers import UNRECORDED
from .shapes import Catalogue, JobStatus

__all__ = [
    "FINISHED",
    "cancel",
    "catalogue",
    "ensure_running",
    "events",
    "is_running",
    "result_path",
    "resume",
    "status",
    "submit",
]

_INTERRUPTED = "interrupted: the job service stopped while this was running; run it again"
_UNREACHABLE = "the job service could not be reached; try again"
_SILENT_SECONDS = 30.0  # longer than handing a job over may take
_ASK_SECONDS = 5.0
_asked: dict[str, tuple[float, bool]] = {}  # when the scheduler was asked about a run, and whether it had it still


def is_running() -> bool:
    """Whether the job service answers. Takes a millisecond; never starts anything."""
    return connect.running() is not None


def ensure_running(wait: bool = True) -> None:
    """Start the job service, detached, if none answers.

    wait: return only when it takes jobs (about two seconds the first time); False returns at once, which is
    what a page does when it loads. With FUSION_SCHEDULER=tls://host:port set, that cluster is used and
    nothing is started. JobError if the service does not come up.
    """
    connect.start(wait)


def submit(kind: str, arguments: Mapping[str, Any]) -> str:
    """Hand a job to the service and return its run id at once. Kinds and arguments: `kinds.KINDS`.

    A job of a kind that is cached, asked for twice, is computed once: the id of the first run comes back.
    JobError for an unknown kind or unknown arguments, or if the service cannot be reached.
    """
    spec = KINDS.get(kind)
    if spec is None:
        raise JobError(f"there is no job kind {kind!r}; there are {', '.join(KINDS)}")
    for name in arguments:
        if name not in spec.arguments:
            raise JobError(f"job {kind!r} has no argument {name!r}; there are {', '.join(spec.arguments)}")
    pointer = _cache_pointer(kind, arguments) if spec.cached else None
    if pointer is not None and (earlier := _reusable(pointer)) is not None:
        return earlier
    ensure_running()
    run = store.create_run(kind, arguments, connect.owner())
    if pointer is not None:
        with contextlib.suppress(StoreError):  # the job itself says so if the store cannot be written
            write_bytes(pointer, run.encode())
    _send(run, spec.light)
    return run


def _send(run: str, light: bool, attempt: int = 0) -> None:
    try:
        tasks.send(run, light, attempt)
    except Exception as error:
        line = str(error) if isinstance(error, JobError) else _UNREACHABLE
        with contextlib.suppress(StoreError):
            store.end_run(run, "failed", line)
        raise JobError(line) from error


def status(run: str) -> JobStatus:
    """How a run goes; StoreError if there is none."""
    state = store.read_status(run)
    if state["state"] not in FINISHED and (reason := _lost(run)) is not None:
        with contextlib.suppress(StoreError):
            store.end_run(run, "failed", reason)  # it may have ended between the two looks
        state = store.read_status(run)
        if state["state"] not in FINISHED:  # nothing can be written
            state = {**state, "state": "failed", "error": reason, "ended": time.time()}
    stage, fraction, message = "", 0.0, ""
    if events := store.read_events(run):
        stage, fraction, message = events[-1]["stage"], events[-1]["fraction"], events[-1]["message"]
    if state["state"] == "done":
        fraction = 1.0
    return {**state, "stage": stage, "fraction": fraction, "message": message}


def events(run: str, after: int = 0) -> list[Event]:
    """Progress events from number `after` on: pass the number of those already seen."""
    return store.read_events(run, after)


def cancel(run: str) -> None:
    """Stop a run: it is cancelled at once and leaves nothing. Its worker is free at its next step, which takes a few
    seconds at the most (one factorisation of a large layer). Harmless when finished."""
    store.end_run(run, "cancelled")


def resume(run: str) -> None:
    """Go on with a leaderboard or a search that was cancelled or interrupted, under the same id: what is done stays.
    Rows of a leaderboard that failed are run again; a search goes on without a trial that ended it. JobError for other
    kinds, StoreError if it is still at work."""
    job = store.read_job(run)
    spec = KINDS[job["kind"]]
    if not spec.parts:
        raise JobError("only a leaderboard or a search can go on where it stopped; run this job again")
    status(run)  # a run whose service is gone becomes a failed one
    ensure_running()
    _send(run, spec.light, store.restart_run(run, connect.owner()))


def result_path(run: str, name: str) -> Path:
    """The path of one of the run's result files, for downloads; StoreError if it is not there."""
    return store.result_path(run, name)


def catalogue() -> Catalogue | None:
    """Methods, presets and versions; None until the service of this version has written them once."""
    try:
        written: Catalogue = json.loads((store.home() / "catalogue.json").read_bytes())
    except (OSError, ValueError):
        return None
    return written if written.get("version") == __version__ else None


def _cache_pointer(kind: str, arguments: Mapping[str, Any]) -> Path:
    text = json.dumps([__version__, kind, dict(arguments)], sort_keys=True)
    return store.folder("cache") / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _reusable(pointer: Path) -> str | None:
    """The run a cache pointer names, if it is at work or done."""
    try:
        run = pointer.read_text()
        return run if status(run)["state"] in ("queued", "running", "done") else None
    except (OSError, StoreError):
        return None


def _lost(run: str) -> str | None:
    """Why a run that has no end will have none: the service that took it is gone, or it has been silent for long and
    the scheduler has nothing of it left. None if it may go on."""
    taken_by = store.read_job(run)["owner"]
    if taken_by is None:
        return None
    if connect.gone(taken_by):
        return _INTERRUPTED
    now, sign = time.monotonic(), 0.0
    for path in store.run_folder(run).glob("*.json*"):
        with contextlib.suppress(FileNotFoundError):  # the status goes as the run ends
            sign = max(sign, path.stat().st_mtime)
    if time.time() - sign < _SILENT_SECONDS:
        return None
    asked, going_on = _asked.get(run, (-math.inf, True))
    if going_on and now - asked >= _ASK_SECONDS:
        _asked[run] = now, (going_on := connect.at_work(run))
    return None if going_on else UNRECORDED
