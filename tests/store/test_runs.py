from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.core.errors import StoreError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.core.types import Grouping
from fusion_engine.store import files
from fusion_engine.store.results import write_result
from tests.store.full import full


def test_a_run_from_start_to_end() -> None:
    run = store.create_run("fuse", {"seed": 3}, "token")
    assert store.read_job(run)["arguments"] == {"seed": 3}
    assert store.read_status(run) == {"state": "queued", "error": None, "started": None, "ended": None}
    store.write_status(run, "running")
    started = store.read_status(run)["started"]
    store.write_status(run, "failed", "no reason")
    status = store.read_status(run)
    assert (status["state"], status["error"], status["started"]) == ("failed", "no reason", started)
    assert status["ended"] >= started


@pytest.mark.parametrize("number", [2, 4])
def test_of_many_ends_one_wins(number: int) -> None:
    """A cancel and an end at the same moment, and several workers that end the same run, many times over."""
    states = ("done", "cancelled", "failed", "done")[:number]
    for _ in range(150):
        run = store.create_run("fuse", {})
        store.write_status(run, "running")
        together, firsts = threading.Barrier(number), []

        def end(state: str, run: str = run, together: Any = together, firsts: Any = firsts) -> None:
            together.wait()
            if store.end_run(run, state):
                firsts.append(state)
            assert store.read_status(run)["state"] in store.FINISHED

        with ThreadPoolExecutor(number) as pool:
            list(pool.map(end, states))
        assert firsts == [store.read_status(run)["state"]]
        assert store.read_status(run)["started"] is not None
        assert sorted(path.name for path in store.run_folder(run).iterdir()) == ["end-0.json", "job.json"]


def test_an_end_stays_and_an_attempt_has_its_own() -> None:
    run = store.create_run("leaderboard", {})
    assert store.end_run(run, "cancelled")
    assert not store.end_run(run, "done")
    store.write_status(run, "failed", "late")
    store.write_status(run, "running")
    assert store.read_status(run)["state"] == "cancelled"
    assert store.restart_run(run, None) == 1
    assert store.read_status(run) == {"state": "queued", "error": None, "started": None, "ended": None}
    assert not store.end_run(run, "done", None, 0)  # of the first attempt, which comes too late
    assert (store.ended(run, 0), store.ended(run, 1)) == (True, False)
    assert store.end_run(run, "done", None, 1)


def test_runs_of_earlier_versions_have_their_end_in_the_status() -> None:
    run = store.create_run("fuse", {})
    end = {"state": "done", "error": None, "started": 1.0, "ended": 2.0}
    (store.run_folder(run) / "status.json").write_text(json.dumps(end))
    assert store.read_status(run) == end
    assert not store.end_run(run, "cancelled")
    assert store.restart_run(run, None) == 1
    assert store.read_status(run)["state"] == "queued"


def test_a_file_system_without_hard_links_has_exclusive_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", refuse)
    run = store.create_run("fuse", {})
    assert store.end_run(run, "done")
    assert not files.create_once(store.run_folder(run) / "end-0.json", b"{}")
    assert store.read_status(run)["state"] == "done"


def test_a_full_store_says_so_in_one_line(home: Path) -> None:
    run = store.create_run("fuse", {})
    writes: list[Callable[[], object]] = [
        lambda: store.create_run("fuse", {}),
        lambda: store.append_event(run, ProgressEvent("solve", 0.5)),
        lambda: store.write_status(run, "running"),
        lambda: store.save_upload([("a.pt", b"1")]),
        lambda: store.save_data("a" * 32, lambda folder: None, {}),
    ]
    before = sorted(path.name for path in home.rglob("*") if path.is_file())
    for write in writes:
        with full(), pytest.raises(StoreError, match=r"^the store cannot be written \(File too large\)") as caught:
            write()
        assert str(home) not in str(caught.value)
    assert sorted(path.name for path in home.rglob("*") if path.is_file() and path.stat().st_size) == before
    assert [r["id"] for r in store.list_runs()] == [run]


def test_a_store_that_is_a_file_says_so(home: Path) -> None:
    home.write_text("")
    with pytest.raises(StoreError, match="the store cannot be written"):
        store.create_run("fuse", {})


def test_ids_sort_by_time() -> None:
    first = store.new_id()
    time.sleep(0.003)
    assert first < store.new_id()


@pytest.mark.parametrize("bad", ["", "..", "../../etc/passwd", "20260101-000000-000-0000000G", None, 7, "a\n"])
def test_other_ids_never_touch_the_disk(bad: object) -> None:
    with pytest.raises(StoreError, match="not the id"):
        store.run_folder(bad)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="not the id"):
        store.check_digest(bad, "parent set")
    with pytest.raises(StoreError, match="not the id"):
        store.restore_run(bad)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="not the id"):
        store.upload_files(bad)  # type: ignore[arg-type]


def test_an_id_with_a_newline_is_refused() -> None:
    with pytest.raises(StoreError):
        store.check_id(store.new_id() + "\n")


def test_result_names_are_a_closed_list() -> None:
    run = store.create_run("fuse", {})
    with pytest.raises(StoreError, match="no result"):
        store.result_path(run, "../job.json")
    with pytest.raises(StoreError, match=r"no report\.json"):
        store.read_report(run)


def test_events_after_a_number_and_half_written_lines() -> None:
    run = store.create_run("fuse", {})
    assert store.read_events(run) == []
    for i in range(3):
        store.append_event(run, ProgressEvent("solve", i / 3, f"layer {i}", {"layer": i}))
    with (store.run_folder(run) / "events.jsonl").open("a") as file:
        file.write('{"t": 1, "sta')
    assert [e["detail"]["layer"] for e in store.read_events(run)] == [0, 1, 2]
    assert [e["message"] for e in store.read_events(run, after=2)] == ["layer 2"]


def test_concurrent_events_stay_whole() -> None:
    run = store.create_run("fuse", {})

    def write(stage: str) -> None:
        for _ in range(50):
            store.append_event(run, ProgressEvent(stage, 0.5, "x" * 300))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = store.read_events(run)
    assert len(events) == 200
    assert {e["message"] for e in events} == {"x" * 300}


def test_lists_newest_first_and_by_kind(home: Path) -> None:
    a = store.create_run("fuse", {})
    time.sleep(0.002)
    b = store.create_run("explore", {})
    (home / "runs" / "stray").mkdir()
    assert [r["id"] for r in store.list_runs()] == [b, a]
    assert [r["id"] for r in store.list_runs("fuse")] == [a]
    assert store.list_runs()[0]["state"] == "queued"


def test_delete_and_undo() -> None:
    run = store.create_run("fuse", {})
    with pytest.raises(StoreError, match="still at work"):
        store.delete_run(run)
    store.write_status(run, "done")
    store.delete_run(run)
    assert store.list_runs() == []
    with pytest.raises(StoreError, match="deleted"):
        store.read_status(run)
    store.restore_run(run)
    assert store.read_status(run)["state"] == "done"
    with pytest.raises(StoreError, match="trash"):
        store.restore_run(run)


def test_results_round_trip_and_one_space_only() -> None:
    run = store.create_run("fuse", {})
    parents = range(11)  # more than ten: the order of keys must be numeric, not alphabetic
    hard = Grouping(
        "fc.1",
        "kmeans",
        tuple(np.full((2, 2), float(p)) for p in parents),
        tuple(np.full((2, 2), -float(p)) for p in parents),
        tuple(np.array([p, 0]) for p in parents),
    )
    soft = Grouping("soft", "cca", (np.eye(3),), (2 * np.eye(3),))
    importance = {"fc.1": [np.array([p, 1.0]) for p in parents], "output": [np.ones(10)]}
    write_result(store.run_folder(run), "name: x\n", {"seed": 1}, {"fc.1": hard, "soft": soft}, importance)
    assert store.read_report(run) == {"seed": 1}
    assert store.result_path(run, "recipe.yaml").read_text() == "name: x\n"
    found = store.read_groupings(run)
    assert sorted(found) == ["fc.1", "soft"]
    assert [m[0, 0] for m in found["fc.1"].merge] == list(parents)
    assert [m[0, 0] for m in found["fc.1"].unmerge] == [-p for p in parents]
    assert [int(s[0]) for s in found["fc.1"].importance or []] == list(parents)
    assert (found["soft"].labels, found["soft"].importance) == (None, None)
    only = store.read_groupings(run, "fc.1")
    assert list(only) == ["fc.1"]
    assert [int(label[0]) for label in only["fc.1"].labels or []] == list(parents)


def test_pickled_arrays_are_refused() -> None:
    run = store.create_run("fuse", {})
    np.savez(store.run_folder(run) / "groupings.npz", **{"a|merge|0": np.array([{}], dtype=object)})
    with pytest.raises(StoreError, match="damaged"):
        store.read_groupings(run)


def test_unknown_state_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown state"):
        store.write_status(store.create_run("fuse", {}), "finished")
