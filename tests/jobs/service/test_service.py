"""The job service as the app uses it: real processes on loopback, one service for the whole file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

from fusion_engine import __version__, store
from fusion_engine.core.errors import JobError, StoreError
from fusion_engine.jobs import client
from fusion_engine.jobs.service import connect, tasks
from fusion_engine.store.files import read_lines
from tests.jobs.service.service_runs import ROOT, eventually, final, in_another_process, started, stop_service
from tests.jobs.service.worker_plugins import Gate, Hungry, set_full

LONG = {"parents": 2, "epochs": 10_000}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One store and one service for all tests of this file."""
    folder = tmp_path_factory.mktemp("service") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_HOME", str(folder))
        patch.delenv("FUSION_SCHEDULER", raising=False)
        patch.setenv("FUSION_WORKERS", "2")  # a second one takes over at once when a worker is killed
        patch.setenv("FUSION_WORKER_MEMORY", "2GiB")
        yield folder
        stop_service(signal.SIGTERM)


@pytest.fixture(autouse=True)
def serving() -> None:
    """Every test finds a service, whatever ran before it."""
    client.ensure_running()


@pytest.fixture
def parents() -> str:
    """Id of the demo's parent set."""
    run = client.submit("import_parents", {"demo": "digits"})
    assert final(run)["state"] == "done"
    return str(store.read_result(run)["parents"])


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed for the fusions of leaderboards, in all workers of the service."""
    gate = Gate(tmp_path / "gate")
    connect.connect().register_plugin(gate)
    return gate


def test_a_job_from_submission_to_result() -> None:
    run = client.submit("import_parents", {"demo": "digits"})
    status = final(run)
    assert (status["state"], status["error"], status["fraction"]) == ("done", None, 1.0)
    assert store.read_result(run)["parents"]
    events = client.events(run)
    assert client.events(run, after=1) == events[1:]
    assert client.result_path(run, "result.json").is_file()


def test_the_catalogue_is_written_by_the_worker() -> None:
    found = eventually(client.catalogue)
    assert found["version"] == __version__
    assert "kmeans" in [m["name"] for m in found["methods"]["grouping"]]
    assert "kf_linear" in [p["name"] for p in found["presets"]]
    assert "cpu" in found["devices"]


def test_only_one_service_starts() -> None:
    client.ensure_running()
    token = connect.owner()
    code = "from fusion_engine.jobs import client; client.ensure_running(); print(client.connect.owner())"
    assert in_another_process(code) == token
    extra = [sys.executable, "-m", "fusion_engine.jobs"]
    done = subprocess.run(extra, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "fusion_engine.jobs: a job service runs already for this store\n"


def test_wrong_jobs_are_refused_at_once() -> None:
    with pytest.raises(JobError, match="no job kind"):
        client.submit("fusion", {})
    with pytest.raises(JobError, match="no argument 'sede'"):
        client.submit("train", {"sede": 1})
    with pytest.raises(StoreError):
        client.status("no-such-run")


def test_errors_reach_the_page_as_one_line() -> None:
    status = final(client.submit("fuse", {"parents": "0" * 32, "data": "digits", "recipe": "average"}))
    assert (status["state"], status["error"]) == (
        "failed",
        "this parent set is not in the store; it may have been deleted",
    )


def test_the_same_exploration_is_done_once(parents: str) -> None:
    arguments = {"parents": parents, "data": "digits:test", "samples": 50, "importance": "uniform"}
    run = client.submit("explore", arguments)
    assert client.submit("explore", arguments) == run
    assert final(run)["state"] == "done"
    assert client.submit("explore", arguments) == run
    store.delete_run(run)
    again = client.submit("explore", arguments)
    assert again != run
    assert final(again)["state"] == "done"


def test_cancel_while_running_and_while_queued_and_light_jobs_pass_by() -> None:
    sets = store.list_parents()
    running = started(client.submit("train", LONG))
    queued = [client.submit("train", LONG) for _ in range(5)][-1]
    light = client.submit("import_data", {"source": "digits:test"})
    assert final(light)["state"] == "done"
    assert client.status(running)["state"] == "running"
    assert client.status(queued)["state"] == "queued"
    for run in [r["id"] for r in store.list_runs("train")]:
        client.cancel(run)
    assert client.status(queued)["state"] == "cancelled"
    assert client.status(running)["state"] == "cancelled"
    again = started(client.submit("train", {"epochs": 60}))  # the worker is free again
    assert not list(store.run_folder(running).glob(".staged*"))
    client.cancel(again)
    assert store.list_parents() == sets
    client.cancel(running)
    assert client.status(running)["state"] == "cancelled"


def test_the_job_of_a_killed_worker_is_done_again() -> None:
    run = started(client.submit("train", {"epochs": 60}))
    client_ = connect.connect()
    workers = client_.scheduler_info()["workers"]
    heavy = [address for address, worker in workers.items() if worker["name"].startswith("heavy")]
    busy = [address for address, tasks in client_.processing(heavy).items() if f"job-{run}" in tasks]
    os.kill(client_.run(os.getpid, workers=busy)[busy[0]], signal.SIGKILL)
    assert final(run)["state"] == "done"
    assert [e["stage"] for e in client.events(run)].count("starting") == 2


def board(parents: str, seeds: list[int]) -> str:
    """A leaderboard of three presets."""
    arguments = {"data": "digits:train", "test": "digits:test", "presets": ["average", "kf_linear", "ot_fusion"]}
    more = {"parents": parents, "samples": 200, "seeds": seeds}
    return client.submit("leaderboard", arguments | more)


def all_workers_are_there() -> None:
    eventually(lambda: len(connect.connect().scheduler_info()["workers"]) == 3)


def rows(run: str) -> list[dict[str, Any]]:
    return read_lines(store.run_folder(run) / "rows.jsonl")


def busy_with(run: str) -> list[str]:
    """Addresses of the workers that have parts of the run."""
    processing = connect.connect().processing()
    return [address for address, tasks in processing.items() if any(str(t).startswith(f"part-{run}") for t in tasks)]


def test_a_leaderboard_with_a_killed_worker_cancelled_and_resumed(parents: str, gate: Gate) -> None:
    run = board(parents, [0, 1])
    gate.allow(1)
    eventually(lambda: (store.run_folder(run) / "leaderboard.json").exists() and store.read_leaderboard(run)["done"])
    assert client.status(run)["state"] == "running"
    address = eventually(lambda: busy_with(run))[0]
    os.kill(connect.connect().run(os.getpid, workers=[address])[address], signal.SIGKILL)
    done = len(rows(run))
    gate.allow(2)
    eventually(lambda: len(rows(run)) > done)
    client.cancel(run)
    assert client.status(run)["state"] == "cancelled"
    eventually(lambda: not busy_with(run))
    kept = rows(run)
    assert len(kept) < 7
    gate.allow()
    client.resume(run)
    assert final(run)["state"] == "done"
    assert rows(run)[: len(kept)] == kept
    assert len({row["key"] for row in rows(run)}) == len(rows(run)) == 7
    table = store.read_leaderboard(run)
    assert (table["done"], table["total"]) == (7, 7)
    assert all(entry["seeds"] == [0, 1] for entry in table["entries"])


def test_a_job_survives_the_process_that_submitted_it() -> None:
    code = "from fusion_engine.jobs import client; print(client.submit('train', {'epochs': 1, 'seed': 5}))"
    assert final(in_another_process(code))["state"] == "done"


def test_who_has_no_keys_is_refused() -> None:
    address = (connect.running() or {})["address"]
    assert address.startswith("tls://127.0.0.1:")
    run_code = "client.run_on_scheduler(lambda: print('I ran'))"
    for given, security in ((address, "None"), (address.replace("tls", "tcp"), "None"), (address, "temporary()")):
        code = f"""
from distributed import Client
from distributed.security import Security
temporary = Security.temporary
try:
    with Client({given!r}, security={security}, timeout=3, set_as_default=False) as client:
        {run_code}
except (OSError, TypeError):
    print("refused")
"""
        assert in_another_process(code) == "refused"
    keys = store.home() / "keys"
    assert {oct(path.stat().st_mode & 0o777) for path in keys.iterdir()} == {"0o600"}
    assert keys.stat().st_mode & 0o777 == 0o700


def test_a_cluster_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    address = (connect.running() or {})["address"]
    monkeypatch.setenv("FUSION_SCHEDULER", "tls://127.0.0.1:9")
    with pytest.raises(JobError, match="name your certificates' files in DASK_DISTRIBUTED__COMM__TLS__CA_FILE"):
        client.submit("import_data", {"source": "digits:train"})
    keys = store.home() / "keys"
    settings = {"ca-file": "certificate", "client.cert": "certificate", "client.key": "key"}
    certificates = {f"distributed.comm.tls.{name}": str(keys / f"{file}.pem") for name, file in settings.items()}
    monkeypatch.setenv("FUSION_SCHEDULER", address)
    with dask.config.set(certificates):
        connect._clients.clear()  # one with the service's own keys
        run = client.submit("import_data", {"source": "digits:train"})
    assert store.read_job(run)["owner"] == f"cluster {address}"
    assert final(run)["state"] == "done"


def test_a_job_that_takes_too_much_memory_is_stopped_and_not_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    connect.connect().register_plugin(Hungry())
    bystanders = [client.submit("train", {"epochs": 1, "seed": seed}) for seed in (11, 12, 13, 14)]
    run = store.create_run("hungry", {"log": str(log)}, connect.owner())
    tasks.send(run, light=False)
    status = final(run)
    assert status["state"] == "failed"
    assert status["error"].startswith("not enough memory; use fewer calibration samples or a smaller model; a worker")
    assert "2.00 GiB" in status["error"]
    assert [final(bystander)["state"] for bystander in bystanders] == ["done"] * 4
    eventually(lambda: not connect.at_work(run))
    assert log.read_text() == "began\n"


def test_a_job_that_can_write_nothing_has_failed_and_that_is_recorded_as_soon_as_it_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_workers_are_there()  # one that starts meanwhile would inherit the limit
    scheduler = connect.connect()
    everywhere = ({}, {"nanny": True})  # nannies live in the service's process
    for more in everywhere:
        scheduler.run(set_full, True, **more)
    try:
        run = client.submit("import_data", {"source": "digits:test"})
        monkeypatch.setattr(client, "_SILENT_SECONDS", 0.5)
        status = final(run)
        assert status["state"] == "failed"
        assert "could not be recorded" in status["error"]
    finally:
        for more in everywhere:
            scheduler.run(set_full, False, **more)
    eventually(lambda: store.read_status(run)["state"] == "failed")
    assert final(client.submit("import_data", {"source": "digits:test"}))["state"] == "done"


def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setattr(connect, "_CONNECT_SECONDS", 1)
    with pytest.raises(JobError, match="could not be reached"):
        client.submit("import_data", {"source": "digits:train"})
    assert store.list_runs()[0]["state"] == "failed"


def test_a_dead_service_fails_its_runs_and_is_replaced_by_one_that_ends_after_its_owner(
    parents: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_workers_are_there()
    running = started(client.submit("train", LONG))
    resumed = board(parents, [2])
    gate.allow(1)
    eventually(lambda: rows(resumed))
    waiting = client.submit("train", LONG)
    listed = client.submit("train", LONG)
    stop_service(signal.SIGKILL)
    for run in (running, waiting):
        status = client.status(run)
        assert status["state"] == "failed"
        assert status["error"].startswith("interrupted")
    kept = rows(resumed)
    monkeypatch.setenv("FUSION_WORKERS", "1")  # the next service starts sooner
    code = f"client.resume({resumed!r}); print(client.submit('import_parents', {{'demo': 'digits'}}))"
    assert final(in_another_process(f"from fusion_engine.jobs import client; {code}"))["state"] == "done"
    assert final(resumed)["state"] == "done"
    assert rows(resumed)[: len(kept)] == kept
    assert len(rows(resumed)) == 4
    assert store.read_status(listed)["error"].startswith("interrupted")
    eventually(lambda: connect.running() is None)
