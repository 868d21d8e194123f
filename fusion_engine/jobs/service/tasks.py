"""What a worker does with a run: find its code, run it, and record how it ended. Imports nothing heavy itself."""

from __future__ import annotations

import contextlib
import errno
import importlib
import shutil
import traceback
from pathlib import Path

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, FusionError, StoreError
from fusion_engine.core.types import Progress
from fusion_engine.store.files import staged_files, unwritable, write_bytes

from .kinds import KINDS
from .parts import start
from .progress import RunProgress
from .workers import OUT_OF_MEMORY, at_task

__all__ = ["RunProgress", "run_job"]


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
    progress = RunProgress(run)
    state, line = "done", None
    results: list[Path] = []
    try:
        store.write_status(run, "running")
        progress(Progress("starting", 0.0, "Starting"))
        module = importlib.import_module(KINDS[job["kind"]].module)
        with staged_files(folder) as stage:
            line = module.run(job["arguments"], stage, progress)
            progress.check()  # it may have been cancelled since the last step
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


def _ending(problem: Exception) -> tuple[str, str | None]:
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
