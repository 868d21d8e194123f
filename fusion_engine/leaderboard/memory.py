"""Peak memory of a stretch of work, where the system can tell; otherwise of the process so far."""

import contextlib
from pathlib import Path

from ..pipeline.report import process_peak_mb

_SELF = Path("/proc/self")


def reset_peak() -> None:
    """Let `peak_memory_mb` count from now on. Linux only; elsewhere nothing happens."""
    with contextlib.suppress(OSError):
        (_SELF / "clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Peak resident memory in MB since `reset_peak`, or since the process began."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (_SELF / "status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024
    return process_peak_mb()
