from __future__ import annotations

import json
from typing import Any

import pytest

from fusion_engine import store
from fusion_engine.core.errors import JobError, StoreError
from fusion_engine.jobs import client
from fusion_engine.jobs.kinds import leaderboard
from fusion_engine.jobs.service import parts
from fusion_engine.jobs.service.tasks import run_job
from fusion_engine.leaderboard import REFERENCES
from fusion_engine.store.files import read_lines
from tests.jobs.job_runs import done, ended, going_on

ARGUMENTS: dict[str, Any] = {
    "data": "digits:train", "test": "digits:test", "samples": 100, "presets": ["kf_linear", "hf_linear", "average"],
    "seeds": [0, 1],
}


@pytest.fixture
def parents() -> str:
    return str(store.read_result(done("import_parents", demo="digits_vgg"))["parents"])


def rows(run: str) -> list[dict[str, Any]]:
    return read_lines(store.run_folder(run) / "rows.jsonl")


def test_a_leaderboard_from_plan_to_table(parents: str) -> None:
    run = done("leaderboard", parents=parents, **ARGUMENTS)
    table = store.read_leaderboard(run)
    assert {e["label"] for e in table["entries"]} == {"kf_linear", "hf_linear", "average"}
    assert all(e["state"] == "done" and e["seeds"] == [0, 1] for e in table["entries"])
    assert (table["done"], table["total"], len(table["rows"])) == (7, 7, 7)
    assert len(table["parents"]) == 2
    assert client.result_path(run, "leaderboard.json").is_file()
    assert not (store.run_folder(run) / "shared").exists()
    reused = [entry["what"] for row in table["rows"] for entry in row.get("shared", ())]
    assert "joint moments" in reused


def test_a_part_that_fails_or_kills_its_worker_is_a_row(parents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.leaderboard import run as engine

    fuse = engine.fuse

    def fails_for_average(parents, data, recipe, **options):
        if recipe["name"] == "average":
            raise ZeroDivisionError
        return fuse(parents, data, recipe, **options)

    monkeypatch.setattr(engine, "fuse", fails_for_average)
    run_part = parts.run_part

    def dies_once(run: str, attempt: int, part: str) -> None:
        row = next((r for r in leaderboard._plan(store.run_folder(run)) if r["key"] == part), None)
        if row and row["preset"] == "hf_linear" and row["seed"] == 0:
            parts.record_failure(f"{run}-{attempt}-{part}", "the worker died")
        else:
            run_part(run, attempt, part)

    monkeypatch.setattr(parts, "run_part", dies_once)
    run = done("leaderboard", parents=parents, **ARGUMENTS)
    entries = {e["label"]: e for e in store.read_leaderboard(run)["entries"]}
    assert entries["kf_linear"]["state"] == "done"
    assert (entries["average"]["state"], entries["average"]["reason"][:10]) == ("failed", "unexpected")
    assert entries["hf_linear"]["seeds"] == [1]
    assert entries["hf_linear"]["reason"] == "the worker died"


def test_resume_runs_what_is_missing_or_failed(
    parents: str, monkeypatch: pytest.MonkeyPatch, home: Any
) -> None:
    done_parts: list[str] = []
    run_part = parts.run_part

    def three(run: str, attempt: int, part: str) -> None:
        if len(done_parts) == 3:
            client.cancel(run)
        run_part(run, attempt, part)
        done_parts.append(part)

    monkeypatch.setattr(parts, "run_part", three)
    run, status = ended("leaderboard", parents=parents, **ARGUMENTS)
    assert status["state"] == "cancelled"
    assert len(rows(run)) == 3
    assert store.read_leaderboard(run)["done"] == 3
    file = store.run_folder(run) / "rows.jsonl"
    broken = {**rows(run)[1], "state": "failed", "reason": "broke"}
    lines = [json.dumps(row) for row in (rows(run)[0], broken, rows(run)[2])]
    file.write_text("\n".join(lines) + "\n" + '{"key": "cut sho')  # killed while writing
    monkeypatch.setattr(parts, "run_part", run_part)
    before = rows(run)[2]
    monkeypatch.setattr(client, "ensure_running", lambda: None)
    monkeypatch.setattr(client.tasks, "send", lambda run, light, attempt: run_job(run))
    client.resume(run)
    assert store.read_status(run)["state"] == "done"
    table = store.read_leaderboard(run)
    assert (table["done"], table["total"]) == (7, 7)
    assert all(e["state"] == "done" for e in table["entries"])
    assert before in rows(run)
    assert store.read_job(run)["attempt"] == 1
    parts.run_part(run, 0, rows(run)[1]["key"])  # a task left over from the first attempt
    assert len(rows(run)) == 7


def test_only_ended_leaderboards_are_resumed(parents: str) -> None:
    with pytest.raises(JobError, match="only a leaderboard"):
        client.resume(done("import_data", source="digits:test"))
    run = store.create_run("leaderboard", {"parents": parents, **ARGUMENTS}, "cluster x")
    with pytest.raises(StoreError, match="still at work"):
        store.restart_run(run, None)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"test": None}, "choose test data"),
        ({"seeds": ["0"]}, "seeds must be"),
        ({"presets": ["nothing"]}, "no recipe"),
        ({"presets": []}, "at least one preset"),
        ({"presets": [3]}, "presets must be a list of names"),
        ({"importances": "uniform"}, "importances must be a list of names"),
        ({"device": "cuda:77"}, "no device 'cuda:77'"),
        ({"data": "d" * 32}, "data set"),
    ],
)
def test_what_cannot_start_says_why(parents: str, changes: dict[str, Any], line: str) -> None:
    _, status = ended("leaderboard", parents=parents, **{**ARGUMENTS, **changes})
    assert status["state"] == "failed"
    assert line in status["error"]


def test_unavailable_rows_are_there_at_once(parents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.jobs.service import tasks

    three = str(store.read_result(done("import_parents", demo="digits"))["parents"])
    monkeypatch.setattr(tasks, "start", lambda run: None)
    run = store.create_run("leaderboard", {"parents": three, **ARGUMENTS})
    run_job(run)
    table = store.read_leaderboard(run)
    assert [e["label"] for e in table["entries"] if e["state"] == "unavailable"] == ["hf_linear"]
    assert "2 parents" in table["entries"][-1]["reason"]
    assert leaderboard.pending(run)[0] == REFERENCES


def resumed(run: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The state of a run that is resumed in this process."""
    monkeypatch.setattr(client, "ensure_running", lambda: None)
    monkeypatch.setattr(client.tasks, "send", lambda run, light, attempt: run_job(run))
    client.resume(run)
    return str(store.read_status(run)["state"])


def test_one_that_was_killed_after_its_last_row_ends(
    parents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = done("leaderboard", parents=parents, **{**ARGUMENTS, "presets": ["average", "ties"]})
    last = rows(run)[-1]["key"]
    going_on(run)
    parts.run_part(run, 0, last)  # as the scheduler does if the worker died before it wrote the run's end
    assert store.read_status(run)["state"] == "done"
    going_on(run)
    store.write_status(run, "failed", "interrupted")
    assert resumed(run, monkeypatch) == "done"
    table = store.read_leaderboard(run)
    assert (table["done"], table["total"], len(table["rows"])) == (4, 4, 4)
