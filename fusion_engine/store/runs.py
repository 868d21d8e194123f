"""Runs: one folder a job, with what was asked, how it goes and what came out. See docs/architecture.md."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from fusion_engine.core.errors import StoreError
from fusion_engine.core.progress import ProgressEvent

from .files import append_line, create_once, linked, read_json, staged_folder, write_json, writing
from .home import check_id, folder, new_id
from .shapes import Event, Job, Run, State, Status

FINISHED = ("done", "failed", "cancelled")


def create_run(kind: str, arguments: Mapping[str, Any], owner: str | None = None) -> str:
    """Make the folder of a new run in state 'queued' and return its id.

    owner: names the job service it was handed to, so that a run orphaned by a restart can be told.
    """
    run = new_id()
    job: Job = {"id": run, "kind": kind, "arguments": dict(arguments), "created": time.time(), "owner": owner}
    with staged_folder(folder("runs") / run) as stage:
        write_json(stage / "job.json", job)
        write_json(stage / "status.json", _QUEUED)
    return run


_QUEUED: Status = {"state": "queued", "error": None, "started": None, "ended": None}


def restart_run(run: str, owner: str | None) -> int:
    """Put a finished run back into state 'queued', under its id and with what it has made so far. The number of the
    attempt, counted from 0."""
    if read_status(run)["state"] not in FINISHED:
        raise StoreError("this run is still at work")
    path, job = run_folder(run), read_job(run)
    attempt = int(job.get("attempt", 0)) + 1
    write_json(path / "status.json", _QUEUED)  # hidden by the end of the earlier attempt, until job.json is written
    write_json(path / "job.json", {**job, "owner": owner, "attempt": attempt})
    return attempt


def run_folder(run: str) -> Path:
    """The folder of a run; StoreError if there is none."""
    path = folder("runs") / check_id(run)
    if not path.is_dir():
        raise StoreError(f"run {run} is not in the store; it may have been deleted")
    return path


def read_job(run: str) -> Job:
    """What was asked for."""
    return cast(Job, read_json(run_folder(run) / "job.json", f"run {run}"))


def read_status(run: str) -> Status:
    """How it goes."""
    end = _end(run, attempt_of(run))
    try:
        if not end.exists():
            return cast(Status, read_json(end.with_name("status.json"), f"the status of run {run}"))
    except StoreError:
        if not end.exists():  # it has not ended meanwhile
            raise
    written: dict[str, Any] = read_json(end, f"the status of run {run}")
    if "state" in written:
        return cast(Status, written)
    # The job's own file under this name says that there was no room for more, see `end_run`.
    return {"state": "failed", "error": _FULL, "started": None, "ended": end.stat().st_ctime}


_FULL = "the store was full when this run ended, so nothing of it could be kept; free space and run it again"


def write_status(run: str, state: State, error: str | None = None) -> None:
    """Record a run's state. 'running' sets `started`; a finished state sets `ended`, and stays what it was if the run
    has ended already."""
    if state not in get_args(State):
        raise ValueError(f"unknown state {state!r}")
    if state in FINISHED:
        end_run(run, state, error)
    else:
        started = time.time() if state == "running" else None
        write_json(run_folder(run) / "status.json", {**_QUEUED, "state": state, "error": error, "started": started})


def end_run(run: str, state: State, error: str | None = None, attempt: int | None = None) -> bool:
    """Record how a run ended, unless it has ended already: been cancelled meanwhile, or done by another worker.
    Whether it had not.

    An attempt ends once: the file that says so is made by exclusive creation, so of a cancel and an end one wins.
    attempt: which one ended; None: the latest. StoreError where nothing can be written; where there is only no room
    left, the job's file gets a second name, which takes none, and the run has failed.
    """
    latest, status = attempt_of(run), read_status(run)
    if status["state"] in FINISHED or attempt not in (None, latest):
        return False
    end = _end(run, latest)
    content: Status = {"state": state, "error": error, "started": status["started"], "ended": time.time()}
    try:
        first = create_once(end, json.dumps(content, indent=1).encode())
    except StoreError:
        with writing():
            first = linked(end.with_name("job.json"), end)
    if first:
        with contextlib.suppress(OSError):
            end.with_name("status.json").unlink()
    return first


def attempt_of(run: str) -> int:
    """The number of the latest attempt at a run: how often it was restarted."""
    return int(read_job(run).get("attempt", 0))


def ended(run: str, attempt: int) -> bool:
    """Whether this attempt has ended or the run is deleted: what still works on it stops then."""
    path = folder("runs") / check_id(run)
    return (path / f"end-{attempt}.json").exists() or not path.is_dir()


def _end(run: str, attempt: int) -> Path:
    return run_folder(run) / f"end-{attempt}.json"


def append_event(run: str, event: ProgressEvent) -> None:
    """Append a progress event to the run's events.jsonl."""
    line: Event = {
        "t": time.time(), "stage": event.stage, "fraction": round(float(event.fraction), 4), "message": event.message,
        "detail": dict(event.detail),
    }
    append_line(run_folder(run) / "events.jsonl", json.dumps(line))


def read_events(run: str, after: int = 0) -> list[Event]:
    """Events from number `after` on (0 gives all). A line still being written is left for the next call."""
    path = run_folder(run) / "events.jsonl"
    if not path.exists():
        return []
    # Between lines that several writers append there may be empty ones, and one that was cut short with its writer.
    lines = path.read_bytes().split(b"\n")[:-1]
    complete = [line for line in lines if line.startswith(b"{") and line.endswith(b"}")]
    return [json.loads(line) for line in complete[after:]]


def result_path(run: str, name: str) -> Path:
    """The path of a result file of a run (a name in docs/architecture.md); StoreError if missing."""
    if name not in _RESULTS:
        raise StoreError(f"a run has no result {name!r}; there are {', '.join(sorted(_RESULTS))}")
    path = run_folder(run) / name
    if not path.is_file():
        raise StoreError(f"run {run} has no {name}; it may be running, have failed, or be of another kind")
    return path


_RESULTS = {
    "recipe.yaml",
    "fused.safetensors",
    "report.json",
    "groupings.npz",
    "solved.safetensors",
    "unedited.npz",
    "explore.json",
    "explore.npz",
    "features.npz",
    "embed.npz",
    "scores.npz",
    "passport.npz",
    "predictions.npz",
    "samples.npz",
    "result.json",
    "leaderboard.json",
    "search.json",
    "bundle.zip",
}


def list_runs(kind: str | None = None) -> list[Run]:
    """All runs, newest first. Damaged ones are left out.

    kind: only runs of this kind.
    """
    runs: list[Run] = []
    for path in folder("runs").iterdir():
        if path.name.startswith("."):
            continue
        try:
            job = read_job(path.name)
            if kind is None or job["kind"] == kind:
                runs.append(cast(Run, {**job, **read_status(path.name)}))
        except StoreError:
            continue
    return sorted(runs, key=lambda run: float(run["created"]), reverse=True)  # ids are of milliseconds


def unfinished_runs() -> list[Run]:
    """The runs that are queued or at work, newest first. Reads no more of the others than their names: a run's
    status.json goes as it ends."""
    runs: list[Run] = []
    for path in folder("runs").glob("*/status.json"):
        with contextlib.suppress(StoreError):
            run = path.parent.name
            if not run.startswith(".") and (status := read_status(run))["state"] not in FINISHED:
                runs.append(cast(Run, {**read_job(run), **status}))
    return sorted(runs, key=lambda run: float(run["created"]), reverse=True)


def latest_runs(number: int) -> list[Run]:
    """The `number` newest runs of any kind, newest first; the others are not read."""
    names = sorted((path.name for path in folder("runs").iterdir() if not path.name.startswith(".")), reverse=True)
    runs: list[Run] = []
    for name in names[:number]:
        with contextlib.suppress(StoreError):
            runs.append(cast(Run, {**read_job(name), **read_status(name)}))
    return sorted(runs, key=lambda run: float(run["created"]), reverse=True)


def delete_run(run: str) -> None:
    """Move a run to the trash; `restore_run` brings it back. Trash older than a week is emptied."""
    path = run_folder(run)
    if read_status(run)["state"] not in FINISHED:
        raise StoreError("this run is still at work; cancel it first")
    trash = folder("trash")
    for old in trash.iterdir():
        if time.time() - old.stat().st_ctime > _KEEP_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    os.rename(path, trash / run)


_KEEP_SECONDS = 7 * 24 * 3600


def restore_run(run: str) -> None:
    """Undo `delete_run`. StoreError if the run is not in the trash."""
    path = folder("trash") / check_id(run)
    if not path.is_dir():
        raise StoreError(f"run {run} is not in the trash; it cannot be brought back")
    os.rename(path, folder("runs") / run)
