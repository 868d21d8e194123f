from __future__ import annotations

import json
from typing import Any

from fusion_engine import store

A, B = "a" * 32, "b" * 32


def add(accuracy: float | None, state: str = "done", seconds: float = 1.0, **arguments: Any) -> None:
    run = store.create_run("fuse", {"parents": A, "test": "digits", "recipe": "average"} | arguments)
    measured = {} if accuracy is None else {"fused": {"accuracy": accuracy}}
    (store.run_folder(run) / "report.json").write_text(json.dumps({**measured, "seconds": {"total": seconds}}))
    store.write_status(run, state)


def test_best_and_last_of_each_recipe_parents_and_test_data() -> None:
    add(0.9)
    add(0.7, seconds=2.0)
    add(0.99, test="digits:test")
    add(0.8, parents=B)
    add(0.6, recipe="kf_linear")
    assert store.past_runs(A, "digits") == [
        store.PastRuns("kf_linear", A, "digits", 1, 0.6, 0.6, 1.0),
        store.PastRuns("average", A, "digits", 2, 0.9, 0.7, 2.0),
    ]
    assert len(store.past_runs(A)) == 3
    assert len(store.past_runs()) == 4


def test_what_says_nothing_about_a_preset_does_not_count() -> None:
    add(None)
    add(0.9, state="failed")
    add(0.9, state="running")
    add(0.9, recipe={"name": "average", "solver": "average"})
    add(0.9, test=None)
    damaged = store.create_run("fuse", {"parents": A, "test": "digits", "recipe": "average"})
    (store.run_folder(damaged) / "report.json").write_text("{")
    store.write_status(damaged, "done")
    assert store.past_runs() == []


def test_single_models_are_no_parent_sets() -> None:
    for identifier, count in ((A, 1), (B, 2)):
        store.save_parents(identifier, lambda folder: None, {"id": identifier, "parents": [{}] * count})
    assert [s["id"] for s in store.list_parents()] == [B]
    assert {s["id"] for s in store.list_parents(1)} == {A, B}


def test_runs_of_one_millisecond_are_listed_newest_first() -> None:
    made = [store.create_run("fuse", {}) for _ in range(12)]
    assert [run["id"] for run in store.list_runs("fuse")] == made[::-1]
