"""What a worker does with a run: find its code, run it, and record how it ended. Imports nothing heavy itself."""

from __future__ import annotations

import importlib
import shutil
import traceback

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, FusionError
from fusion_engine.core.types import Progress
from fusion_engine.store.files import staged_files, write_bytes

from .kinds import KINDS
from .parts import start
from .progress import RunProgress

__all__ = ["RunProgress", "run_job"]


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
            progress.check()  # it may have been cancelled since the last step
        if KINDS[job["kind"]].parts:
            start(run)  # the last part records the end
        else:
            store.end_run(run, "failed" if error else "done", error)
    except Cancelled:
        store.end_run(run, "cancelled")
    except FusionError as failure:
        store.end_run(run, "failed", str(failure))
    except MemoryError:
        store.end_run(run, "failed", "not enough memory; use fewer calibration samples or a smaller model")
    except Exception as failure:
        write_bytes(folder / "traceback.txt", traceback.format_exc().encode())
        line = f"internal error ({type(failure).__name__}); traceback.txt in the run's folder says where"
        store.end_run(run, "failed", line)
