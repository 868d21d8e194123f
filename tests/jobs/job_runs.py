"""Running a job in this process."""

from __future__ import annotations

from typing import Any

from fusion_engine import store
from fusion_engine.jobs.kinds import KINDS
from fusion_engine.jobs.service.tasks import run_job


def ended(kind: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    """Run a job; its id and status."""
    assert set(arguments) <= set(KINDS[kind].arguments)
    run = store.create_run(kind, arguments)
    run_job(run)
    return run, store.read_status(run)


def done(kind: str, **arguments: Any) -> str:
    """Run a job that must end well; its id."""
    run, status = ended(kind, **arguments)
    assert (status["state"], status["error"]) == ("done", None)
    return run


def going_on(run: str) -> None:
    """As if the end of a run had not been recorded: its worker died just before."""
    (store.run_folder(run) / f"end-{store.attempt_of(run)}.json").unlink()
    store.write_status(run, "running")
