"""Waiting for what a real job service does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusion_engine.jobs import client
from fusion_engine.jobs.service import connect

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120.0


def stop_service(how: signal.Signals) -> None:
    found = connect.running()
    if found is not None:
        os.kill(found["pid"], how)
        eventually(lambda: connect.gone(found["token"]))


def eventually(check: Callable[[], Any]) -> Any:
    """The first true value of `check`, waited for with patience: machines are slow at times."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := check():
            return value
        time.sleep(0.02)
    raise AssertionError("this did not happen")


def final(run: str) -> dict[str, Any]:
    eventually(lambda: client.status(run)["state"] in client.FINISHED)
    return client.status(run)


def started(run: str) -> str:
    """Wait until the run is training."""
    eventually(lambda: any(e["stage"] == "train" for e in client.events(run)))
    return run


def in_another_process(code: str) -> str:
    """Run code as another client of the same store; it has ended when this returns."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
