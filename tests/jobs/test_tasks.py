"""run_job in this process, with kinds of its own: how runs end, whatever the work does."""

from __future__ import annotations

import json
import resource
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, DataError, StoreError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.jobs import client
from fusion_engine.jobs import progress as run_progress
from fusion_engine.jobs.kinds import KINDS, Kind
from fusion_engine.jobs.progress import RunProgress
from fusion_engine.jobs.service.tasks import run_job
from fusion_engine.store import files
from tests.jobs.job_runs import going_on
from tests.store.full import full

Work = Callable[[dict[str, Any], Path, Callable[[ProgressEvent], None]], "str | None"]


@pytest.fixture
def do(monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], str]:
    """Runs a function as a job and returns the run's id."""

    def do(work: Work) -> str:
        module = types.ModuleType("work_of_a_test")
        module.run = work  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "work_of_a_test", module)
        monkeypatch.setitem(KINDS, "work", Kind("work_of_a_test", ()))
        run = store.create_run("work", {"n": 1})
        run_job(run)
        return run

    return do


def test_results_appear_when_all_is_done(do: Callable[[Work], str]) -> None:
    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> None:
        (folder / "result.json").write_text(json.dumps({"n": arguments["n"]}))
        assert not (folder.parent / "result.json").exists()

    run = do(work)
    assert store.read_status(run)["state"] == "done"
    assert store.read_result(run) == {"n": 1}
    assert not list(store.run_folder(run).glob(".*"))


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (DataError("t.npz: no labels; add them"), "failed", "t.npz: no labels; add them"),
        (Cancelled(), "cancelled", None),
        (MemoryError(), "failed", "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "failed", "not enough memory"),
        (OSError(28, "No space left", "/secret"), "failed", "the store cannot be written (No space left"),
        (ZeroDivisionError("/secret/path"), "failed", "internal error (ZeroDivisionError)"),
    ],
)
def test_errors_become_one_line_and_leave_nothing(
    do: Callable[[Work], str], error: Exception, state: str, line: str | None
) -> None:
    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> None:
        (folder / "result.json").write_text("{}")
        raise error

    run = do(work)
    status = store.read_status(run)
    assert status["state"] == state
    assert (status["error"] or "").startswith(line or "")
    assert "/secret" not in (status["error"] or "")
    assert not (store.run_folder(run) / "result.json").exists()


def test_a_job_may_fail_with_results(do: Callable[[Work], str]) -> None:
    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> str:
        (folder / "result.json").write_text('{"errors": [1]}')
        return "1 file could not be read"

    run = do(work)
    assert store.read_status(run)["error"] == "1 file could not be read"
    assert store.read_result(run) == {"errors": [1]}


def test_a_job_cancelled_while_queued_does_nothing(do: Callable[[Work], str], monkeypatch: Any) -> None:
    monkeypatch.setitem(KINDS, "never", Kind("no_such_module", ()))
    run = store.create_run("never", {})
    client.cancel(run)
    run_job(run)
    assert store.read_status(run)["state"] == "cancelled"


@pytest.mark.parametrize("error", [None, DataError("t.npz: no labels; add them")])
def test_a_job_cancelled_in_its_last_step_leaves_nothing(do: Callable[[Work], str], error: Exception | None) -> None:
    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> None:
        (folder / "result.json").write_text("{}")
        client.cancel(folder.parent.name)
        assert store.read_status(folder.parent.name)["state"] == "cancelled"
        if error is not None:
            raise error

    run = do(work)
    assert store.read_status(run)["state"] == "cancelled"
    assert not (store.run_folder(run) / "result.json").exists()


def test_a_job_cancelled_between_its_last_look_and_its_end_is_cancelled(
    do: Callable[[Work], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the run is about to be ended as done: whoever looked before saw one that goes on."""
    ends = store.end_run

    def late(run: str, state: str, *more: Any) -> bool:
        monkeypatch.setattr(store, "end_run", ends)
        client.cancel(run)
        return ends(run, state, *more)

    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> None:
        (folder / "result.json").write_text("{}")
        monkeypatch.setattr(store, "end_run", late)

    run = do(work)
    assert store.read_status(run)["state"] == "cancelled"
    assert not (store.run_folder(run) / "result.json").exists()


def test_a_job_without_room_for_its_results_has_failed(do: Callable[[Work], str]) -> None:
    def work(arguments: dict[str, Any], folder: Path, on_progress: Callable[[ProgressEvent], None]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # from now on, until the end is recorded
        (folder / "result.json").write_text("{}")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        run = do(work)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    status = client.status(run)
    assert status["state"] == "failed"
    assert status["error"].startswith("the store was full")
    assert status["ended"] >= store.read_job(run)["created"]
    assert {path.name for path in store.run_folder(run).iterdir()} == {"job.json", "events.jsonl", "end-0.json"}
    assert [r["state"] for r in store.list_runs()] == ["failed"]


def test_a_submission_to_a_full_store_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ensure_running", lambda: None)
    monkeypatch.setattr(client.connect, "owner", lambda: None)
    store.folder("runs")
    for kind, arguments in (("train", {}), ("preflight", {"parents": "a" * 32})):
        with full(), pytest.raises(StoreError, match=r"store cannot be written \(File too large\)"):
            client.submit(kind, arguments)
    assert list((home / "runs").iterdir()) == []


@pytest.mark.parametrize("at_work", [True, False])
def test_a_run_of_which_nothing_is_left_has_failed_though_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, at_work: bool
) -> None:
    run = store.create_run("work", {}, "service")
    store.write_status(run, "running")
    asked = []
    monkeypatch.setattr(client.connect, "gone", lambda token: False)
    monkeypatch.setattr(client.connect, "at_work", lambda run: asked.append(run) or at_work)
    monkeypatch.setattr(files.os, "link", lambda *names: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with full():
        assert client.status(run)["state"] == "running"  # it said something just now
        assert asked == []
        monkeypatch.setattr(client, "_SILENT_SECONDS", -1.0)
        states = [client.status(run) for _ in range(3)]
        assert asked == [run]
    assert [s["state"] for s in states] == ["running" if at_work else "failed"] * 3
    assert store.read_status(run)["state"] == "running"
    assert at_work or "could not be recorded" in states[0]["error"]


def test_a_finished_job_is_not_done_twice(do: Callable[[Work], str]) -> None:
    calls = []
    run = do(lambda arguments, folder, on_progress: calls.append(1))
    run_job(run)
    assert calls == [1]


def test_a_second_try_clears_what_a_killed_worker_left(do: Callable[[Work], str], monkeypatch: Any) -> None:
    run = do(lambda arguments, folder, on_progress: None)
    leftover = store.run_folder(run) / ".staged-1234"
    leftover.mkdir()
    going_on(run)
    run_job(run)
    assert not leftover.exists()
    assert store.read_status(run)["state"] == "done"


def test_progress_never_falls_and_is_thinned_out() -> None:
    run = store.create_run("work", {})
    progress = RunProgress(run, interval=3600)
    for stage, fraction in [("a", 0.0), ("a", 0.1), ("a", 0.2), ("b", 0.1), ("c", 7.0)]:
        progress(ProgressEvent(stage, fraction))
    events = store.read_events(run)
    assert [(e["stage"], e["fraction"]) for e in events] == [("a", 0.0), ("b", 0.2), ("c", 1.0)]


def test_details_are_thinned_out_apart_from_the_rest_and_what_is_done_is_always_told() -> None:
    run = store.create_run("work", {})
    progress = RunProgress(run, interval=3600)
    details = [{}, {"epoch": 1}, {}, {"epoch": 2}, {"done": True}, {"done": True}]
    for detail in details:
        progress(ProgressEvent("a", 0.5, detail=detail))
    assert [e["detail"] for e in store.read_events(run)] == [{}, {"epoch": 1}, {"done": True}, {"done": True}]


def test_details_are_told_on_a_machine_that_has_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one, though no more time than the interval has gone by since the clock began."""
    run = store.create_run("work", {})
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: 5.0)
    progress = RunProgress(run, interval=3600)
    for detail in ({}, {"epoch": 1}, {"epoch": 2}):
        progress(ProgressEvent("a", 0.5, detail=detail))
    assert [e["detail"] for e in store.read_events(run)] == [{}, {"epoch": 1}]


def test_progress_raises_when_cancelled_or_deleted() -> None:
    run = store.create_run("work", {})
    client.cancel(run)
    with pytest.raises(Cancelled):
        RunProgress(run)(ProgressEvent("a", 0.0))
