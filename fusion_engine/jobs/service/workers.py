"""Workers: what Dask is told about them, what is said when they die, and which task each of them is at."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.core.errors import StoreError
from fusion_engine.store.files import write_bytes

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 1,  # a job that kills its worker twice is to blame itself
    "distributed.scheduler.worker-ttl": None,  # a long computation that holds the GIL is not a dead worker
    # Dask's own setting has freed memory given back to the system at once: every large tensor then starts with page
    # faults, and fusions take three to five times as long.
    "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
}

DIED = "the worker died twice, most likely for lack of memory"
UNRECORDED = "the end of this job could not be recorded: the store may be full or refuse to be written; run it again"
OUT_OF_MEMORY = "not enough memory; use fewer calibration samples or a smaller model"


@contextlib.contextmanager
def at_task(key: str) -> Iterator[None]:
    """Leave word, outside this process, of the task that it is at: whoever has to kill it then knows what it was."""
    path = _word(os.getpid())
    with contextlib.suppress(StoreError):
        write_bytes(path, key.encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def task_of(process: int) -> str | None:
    """The task that a worker's process is at, or None."""
    try:
        return _word(process).read_text()
    except OSError:
        return None


def _word(process: int) -> Path:
    return store.folder("scratch") / f"task-{process}"
