"""The job search: a trial a part, resumed with the trials that it would have made anyway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from job_runs import done, ended, going_on

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.jobs import client
from fusion_engine.jobs.kinds.search import job
from fusion_engine.jobs.service import parts
from fusion_engine.jobs.service.tasks import run_job

ARGUMENTS: dict[str, Any] = {
    "data": "digits:train", "test": "digits:test", "samples": 160, "trials": 3, "dimensions": {"solver.ridge": {}},
    "recipe": {"importance": "uniform", "grouping": "kmeans", "solver": "least_squares"},
}


@pytest.fixture
def parents() -> str:
    return str(store.read_result(done("import_parents", demo="digits"))["parents"])


def settings(run: str) -> list[dict[str, Any]]:
    return [trial["settings"] for trial in store.read_search(run)["trials"]]


def test_all_trials_are_done_and_shown(parents: str) -> None:
    run = done("search", parents=parents, **ARGUMENTS)
    table = store.read_search(run)
    assert [trial["state"] for trial in table["trials"]] == ["done"] * 3
    assert table["best_recipe"]["solver"]["method"] == "least_squares"
    assert (store.run_folder(run) / "trials.log").is_file()
    # Killed between the journal and the table, then before the end was written: nothing is done again.
    shown = json.loads((store.run_folder(run) / "search.json").read_text())
    shown["trials"].pop()
    (store.run_folder(run) / "search.json").write_text(json.dumps(shown))
    going_on(run)
    parts.run_part(run, 0, "2")
    assert store.read_status(run)["state"] == "done"
    assert store.read_search(run)["trials"] == table["trials"]


def test_it_goes_on_after_a_cancel_with_the_same_trials(parents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = settings(done("search", parents=parents, **ARGUMENTS))
    real, count = job._next_trial, []

    def cancelled(run: str, progress: Any) -> None:
        count.append(1)
        if len(count) == 3:
            client.cancel(run)
        real(run, progress)

    monkeypatch.setattr(job, "_next_trial", cancelled)
    run, status = ended("search", parents=parents, **ARGUMENTS)
    assert (status["state"], len(settings(run))) == ("cancelled", 2)
    monkeypatch.setattr(client, "ensure_running", lambda: None)
    monkeypatch.setattr(client.tasks, "send", lambda run, light, attempt: run_job(run))
    client.resume(run)
    assert store.read_status(run)["state"] == "done"
    assert settings(run) == whole


def test_a_trial_that_kills_its_worker_is_left_out(parents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(job, "_next_trial", lambda run, progress: None)
        run, _ = ended("search", parents=parents, **ARGUMENTS)
    parts.record_failure(f"{run}-0-0", "the worker died twice")
    assert "resume goes on without it" in str(store.read_status(run)["error"])
    monkeypatch.setattr(client, "ensure_running", lambda: None)
    monkeypatch.setattr(client.tasks, "send", lambda run, light, attempt: run_job(run))
    client.resume(run)
    trials = store.read_search(run)["trials"]
    assert [trial["state"] for trial in trials] == ["failed", "done", "done"]
    assert trials[0]["reason"] == "the worker died twice"


def test_a_full_disk_ends_it_in_a_line(parents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(run: str, progress: Any) -> None:
        raise FusionError("no space left")

    monkeypatch.setattr(job, "_next_trial", full)
    _, status = ended("search", parents=parents, **ARGUMENTS)
    assert (status["state"], status["error"]) == ("failed", "no space left; resume goes on from the last trial")


@pytest.mark.parametrize(("changes", "line"), [
    ({"dimensions": "solver.ridge"}, "dimensions must be"),
    ({"seconds": "long"}, "seconds must be"),
    ({"dimensions": {"solver.rigde": {}}}, "did you mean"),
])  # fmt: skip
def test_what_cannot_run_is_one_line(parents: str, changes: dict[str, Any], line: str) -> None:
    _, status = ended("search", parents=parents, **{**ARGUMENTS, **changes})
    assert status["state"] == "failed"
    assert line in str(status["error"])
