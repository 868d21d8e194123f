"""Runs as tasks of the scheduler: handing one over, and what a worker does with it: find its code, run it, and record
how it ended. Imports nothing heavy itself."""

import contextlib
import errno
import importlib
import shutil
import traceback
from pathlib import Path

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, FusionError, StoreError
from fusion_engine.core.progress import Progress
from fusion_engine.store.files import staged_files, unwritable, write_bytes
from fusion_engine.store.shapes import State

from ..kinds import KINDS
from ..progress import RunProgress
from .connect import connect, hand_over
from .parts import start
from .workers import OUT_OF_MEMORY, at_task


def send(run: str, light: bool, attempt: int = 0) -> None:
    """Hand a run to the scheduler. From then on it keeps the job, even when this process ends at once."""
    key = f"job-{run}-{attempt}" if attempt else f"job-{run}"
    tasks = {key: (run_job, (run,))}
    hand_over(connect(), tasks, lambda: store.read_status(run)["state"] != "queued", light=light)


def run_job(run: str) -> None:
    """Do a run's work. Safe to call again after a worker died: results appear only when all is done."""
    attempt = store.attempt_of(run)
    with at_task(f"job-{run}-{attempt}"):
        _run_job(run, attempt)


def _run_job(run: str, attempt: int) -> None:
    job = store.read_job(run)
    if store.read_status(run)["state"] in store.FINISHED:
        return
    folder = store.run_folder(run)
    for leftover in folder.glob(".staged-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    listener = RunProgress(run)
    progress = Progress(listener)
    state: State = "done"
    line: str | None = None
    results: list[Path] = []
    try:
        store.write_status(run, "running")
        progress.part(0.0, 1.0, "starting").report(0.0, "Starting")
        module = importlib.import_module(KINDS[job["kind"]].module)
        with staged_files(folder) as stage:
            line = module.run(job["arguments"], stage, progress)
            listener.check()  # it may have been cancelled since the last step
            results = [folder / file.name for file in stage.iterdir()]
        if KINDS[job["kind"]].parts:
            start(run)  # the last part records the end
            return
        state = "failed" if line else "done"
    except Exception as problem:
        state, line = _ending(problem)
        if line == _INTERNAL.format(type(problem).__name__):
            with contextlib.suppress(StoreError):
                write_bytes(folder / "traceback.txt", traceback.format_exc().encode())
    if not store.end_run(run, state, line, attempt) and store.read_status(run)["state"] == "cancelled":
        for path in results:  # cancelled between its last step and its end
            path.unlink(missing_ok=True)


_INTERNAL = "internal error ({}); traceback.txt in the run's folder says where"


def _ending(problem: Exception) -> tuple[State, str | None]:
    """State and line of a run that was ended by an exception."""
    if isinstance(problem, Cancelled):
        return "cancelled", None
    if isinstance(problem, FusionError):
        return "failed", str(problem)
    if isinstance(problem, MemoryError) or "can't allocate memory" in str(problem) or "out of memory" in str(problem):
        return "failed", OUT_OF_MEMORY  # PyTorch raises RuntimeErrors of its own
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        return "failed", str(unwritable(problem))
    return "failed", _INTERNAL.format(type(problem).__name__)
