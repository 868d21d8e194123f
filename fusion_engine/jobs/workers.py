"""What Dask is told about workers, by the job service and by commands that start workers of their own."""

from __future__ import annotations

from typing import Any

__all__ = ["DIED", "OUT_OF_MEMORY", "SETTINGS", "UNRECORDED"]

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
