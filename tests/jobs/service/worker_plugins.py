"""What tests change in the service's workers; a restarted worker is changed as well."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin

from fusion_engine.core.progress import ProgressEvent

__all__ = ["Gate", "Hungry", "set_full"]


class Gate(WorkerPlugin):
    """A leaderboard's fusions wait, listening for a cancellation, until `allow` lets some through or all."""

    name = "gate"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def allow(self, number: int | None = None) -> None:
        """Let this many fusions through; None opens the gate for good."""
        for ticket in ["open"] if number is None else range(number):
            (self.folder / str(ticket)).touch()

    def setup(self, worker: Any) -> None:
        from fusion_engine.leaderboard import run as engine

        fuse = engine.fuse

        def waiting(*arguments: Any, **options: Any) -> Any:
            while not self._admits():
                options["on_progress"](ProgressEvent("gate", 0.0))
                time.sleep(0.02)
            return fuse(*arguments, **options)

        engine.fuse = waiting

    def _admits(self) -> bool:
        if (self.folder / "open").exists():
            return True
        for ticket in self.folder.iterdir():
            try:
                ticket.unlink()
            except FileNotFoundError:  # another worker was faster
                continue
            return True
        return False


class Hungry(WorkerPlugin):
    """A kind of job that takes memory until it is stopped, and writes down that it began."""

    name = "hungry"

    def setup(self, worker: Any) -> None:
        from fusion_engine.jobs.kinds import KINDS, Kind

        KINDS["hungry"] = Kind(__name__, ("log",))


def run(arguments: Mapping[str, Any], folder: Path, on_progress: Any) -> None:
    with Path(arguments["log"]).open("a") as log:
        log.write("began\n")
    taken = []
    while True:
        taken.append(bytearray(b"x" * 2**26))
        time.sleep(0.01)


def set_full(full: bool) -> None:
    """Whether a worker can write nothing, and give no file a second name, as on a file system that is read-only."""
    import os

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else hard, hard))
    link = os.__dict__.setdefault("_link", os.link)

    def refuse(*names: Any) -> None:
        raise OSError(30, "Read-only file system")

    os.link = refuse if full else link
