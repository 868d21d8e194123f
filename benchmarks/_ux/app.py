"""The app in a process of its own, and the parents that it is given."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from _running import ROOT

DIGITS = {"data": "digits:train", "test": "digits:test"}


class App:
    """The app on a port of its own, from the command on."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        environment = {k: v for k, v in os.environ.items() if k != "FUSION_SCHEDULER"} | {"FUSION_HOME": str(home)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1)
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("the app did not start")

    def megabytes(self) -> float:
        """Resident memory of the app's process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def stop(self) -> None:
        """End the app, and wait for its job service to end: it would be at work while the next thing is measured."""
        started = [p for p in psutil.process_iter() if _environment(p).get("FUSION_HOME") == str(self._home)]
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)
        psutil.wait_procs([p for p in started if p.pid != os.getpid()], timeout=20)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


@contextmanager
def running(home: Path) -> Iterator[App]:
    app = App(home)
    try:
        yield app
    finally:
        app.stop()


def parents(kind: str, home: Path) -> dict[str, str]:
    """Put parents into the app's store; what an address calls them and their data.

    vgg11: two with random weights, 512 neurons in the widest layers, and random images: how the app feels does not
    depend on what they know. eight: the digits' MLPs of 64 neurons, trained for a few seconds.
    """
    os.environ["FUSION_HOME"] = str(home)  # jobs are handed to the service of the app's store
    if kind == "eight":
        asked = {"arch": "mlp", "data": "digits:train", "parents": 8, "regime": "non_iid", "seed": 0}
        return {"parents": _done("train", asked)["parents"], **DIGITS}
    from fusion_engine import store

    files = _vgg11(home)
    upload = store.save_upload([(files[-1].name, files[-1].read_bytes())])
    data = _done("import_data", {"upload": upload})["data"]
    return {"parents": _done("import_parents", {"paths": [str(f) for f in files[:-1]]})["parents"], "data": data}


def _vgg11(home: Path) -> list[Path]:
    import numpy as np
    import torch

    from fusion_engine.architectures.vgg import VGG, VGGConfig
    from fusion_engine.parents import write_state

    files = []
    config = VGGConfig((3, 32, 32), (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"), (512, 512, 10))
    for number in range(2):
        torch.manual_seed(number)
        files.append(home / f"vgg11_{number}.safetensors")
        write_state(files[-1], VGG(config).state_dict(), {})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (400, 3, 32, 32), np.uint8)
    np.savez(home / "images.npz", x=images, y=np.arange(400) % 10)
    return [*files, home / "images.npz"]


def _done(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from fusion_engine import store
    from fusion_engine.jobs import client

    run = client.submit(kind, arguments)
    while (status := client.status(run))["state"] not in client.FINISHED:
        time.sleep(0.1)
    if status["state"] != "done":
        sys.exit(f"{kind}: {status['error']}")
    return dict(store.read_result(run))
