"""What a worker does with a run: find its code, run it, and record how it ended. Imports nothing heavy itself."""

from __future__ import annotations

import importlib
import shutil
import time
import traceback

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, FusionError
from fusion_engine.core.types import Progress
from fusion_engine.store.files import staged_files, write_bytes

from .kinds import KINDS

__all__ = ["RunProgress", "run_job"]


class RunProgress:
    """A progress callback that appends to the run's events and raises Cancelled when somebody asked for it.

    Events closer together than `interval` seconds are dropped unless the stage changes or the detail says that
    something is done. Events with a detail have an interval of their own, so that those without, which solvers may
    report far more often, do not crowd them out. The mark of a cancellation is looked for at least ten times a
    second.
    """

    def __init__(self, run: str, interval: float = 0.1) -> None:
        self._run, self._interval = run, interval
        self._stage, self._fraction = "", 0.0
        self._checked = 0.0
        self._written = {True: 0.0, False: 0.0}

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        if now - self._checked > 0.05:
            self._checked = now
            if store.cancel_requested(self._run):
                raise Cancelled(self._run)
        self._fraction = max(self._fraction, min(1.0, event.fraction))
        detailed = bool(event.detail)
        telling = event.stage != self._stage or bool(event.detail.get("done"))
        if telling or now - self._written[detailed] >= self._interval:
            self._stage = event.stage
            self._written[detailed] = now
            store.append_event(
                self._run, Progress(event.stage, self._fraction, event.message, event.detail)
            )


def run_job(run: str) -> None:
    """Do a run's work. Safe to call again after a worker died: results appear only when all is done."""
    job = store.read_job(run)
    if store.read_status(run)["state"] in store.FINISHED:
        return
    folder = store.run_folder(run)
    for leftover in folder.glob(".staged-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    store.write_status(run, "running")
    progress = RunProgress(run)
    try:
        progress(Progress("starting", 0.0, "Starting"))
        module = importlib.import_module(KINDS[job["kind"]].module)
        with staged_files(folder) as stage:
            error = module.run(job["arguments"], stage, progress)
        store.write_status(run, "failed" if error else "done", error)
    except Cancelled:
        store.write_status(run, "cancelled")
    except FusionError as failure:
        store.write_status(run, "failed", str(failure))
    except MemoryError:
        store.write_status(run, "failed", "not enough memory; use fewer calibration samples or a smaller model")
    except Exception as failure:
        write_bytes(folder / "traceback.txt", traceback.format_exc().encode())
        line = f"internal error ({type(failure).__name__}); traceback.txt in the run's folder says where"
        store.write_status(run, "failed", line)
