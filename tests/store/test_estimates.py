from __future__ import annotations

import json
from typing import Any

from fusion_engine import store

A, B, C = "a" * 32, "b" * 32, "c" * 32
JOB = {"parents": A, "data": "digits", "test": None, "recipe": "average", "samples": 400, "seed": 0}


def ran(seconds: float, state: str = "done", **changes: Any) -> str:
    run = store.create_run("fuse", JOB | changes)
    store.write_status(run, "running")
    store.write_status(run, state)
    end = store.run_folder(run) / "end-0.json"
    end.write_text(json.dumps(json.loads(end.read_text()) | {"started": 100.0, "ended": 100.0 + seconds}))
    return run


def keep(identifier: str, *weights: int) -> None:
    parents = [{"parameters": number} for number in weights]
    store.save_parents(identifier, lambda folder: None, {"id": identifier, "parents": parents})


def test_the_median_of_such_jobs() -> None:
    for seconds in (2.0, 9.0, 3.0):
        ran(seconds, seed=int(seconds))
    ran(99.0, state="cancelled")
    ran(50.0, recipe="kf_linear")
    ran(70.0, samples=None)
    assert store.expected("fuse", JOB) == store.Expected(3.0, 3, True)
    assert store.expected("fuse", JOB | {"samples": 100}) is None
    assert store.expected("analyse", JOB) is None


def test_the_newest_five_count() -> None:
    for seconds in (90.0, 90.0, 90.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        ran(seconds)
    assert store.expected("fuse", JOB) == store.Expected(3.0, 5, True)


def test_parents_of_the_same_sizes_stand_in() -> None:
    for identifier, weights in ((A, (10, 10)), (B, (10, 10)), (C, (10, 10, 10))):
        keep(identifier, *weights)
    ran(4.0, parents=B, data=C)
    ran(8.0, parents=C)
    assert store.expected("fuse", JOB) == store.Expected(4.0, 1, False)
    assert store.expected("fuse", JOB | {"parents": "d" * 32}) is None


def test_runs_at_work_and_the_newest() -> None:
    done = ran(1.0)
    queued, running = (store.create_run("fuse", JOB) for _ in range(2))
    store.write_status(running, "running")
    assert [run["id"] for run in store.unfinished_runs()] == [running, queued]
    assert [run["id"] for run in store.latest_runs(3)] == [running, queued, done]
    assert {run["id"] for run in store.latest_runs(1)} == {max(done, queued, running)}
    store.restart_run(done, None)
    assert {run["id"] for run in store.unfinished_runs()} == {done, queued, running}
