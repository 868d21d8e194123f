"""Finding, starting and talking to the job service. Imports nothing heavy; Dask only when a job is sent."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from fusion_engine import store
from fusion_engine.core.errors import JobError
from fusion_engine.store.files import unwritable, writing

from .keys import cluster_security, local_security

if TYPE_CHECKING:
    from distributed import Client

Task = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""

_START_SECONDS = 60
_CONNECT_SECONDS = 10
_guard = threading.Lock()
_starting: subprocess.Popen[bytes] | None = None
_clients: dict[str, Client] = {}


def cluster() -> str | None:
    """The address in FUSION_SCHEDULER, if a cluster is to be used instead of a local service."""
    return os.environ.get("FUSION_SCHEDULER") or None


def running() -> dict[str, Any] | None:
    """{"address", "pid", "token"} of the local service if it is alive, or of the cluster; None otherwise."""
    if address := cluster():
        return {"address": address, "pid": None, "token": f"cluster {address}"}
    if not _lock_is_held():
        return None
    try:
        return dict(json.loads((store.home() / "service.json").read_bytes()))
    except (OSError, ValueError):
        return None  # it is starting, and has no address yet


def _lock_is_held() -> bool:
    """Whether a live service holds its lock: unlike a process id, a lock cannot outlive its process."""
    lock = store.home() / "service.lock"
    if not lock.exists():
        return False
    try:  # other clients hold it, too, for the instant in which they look
        with FileLock(lock, mode=0o600).acquire(timeout=0.002, poll_interval=0.001):
            return False
    except Timeout:
        return True
    except OSError as problem:
        raise unwritable(problem) from problem


def owner() -> str | None:
    """Token of the service that takes jobs now; recorded with each run."""
    found = running()
    return None if found is None else str(found["token"])


def gone(token: str) -> bool:
    """Whether the local service named by `token` has ended. A cluster is not ours to judge: False."""
    if token.startswith("cluster "):
        return False
    if not _lock_is_held():
        return True
    try:
        return bool(json.loads((store.home() / "service.json").read_bytes())["token"] != token)
    except (OSError, ValueError, KeyError):
        return False  # a new service is starting; ask again when it has its address


def start(wait: bool) -> None:
    """Start a local service unless one is alive or a cluster is named. See client.ensure_running."""
    global _starting
    with _guard:
        if running() is not None:
            return
        if _starting is None or _starting.poll() is not None:
            _starting = _launch()
        process = _starting
    deadline = time.monotonic() + _START_SECONDS
    while wait and running() is None:
        if process.poll() not in (None, 0) or time.monotonic() > deadline:
            raise JobError("the job service did not start; see service.log in the store's folder")
        time.sleep(0.05)


def _launch() -> subprocess.Popen[bytes]:
    package_root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([package_root, *filter(None, [os.environ.get("PYTHONPATH")])])
    with writing():
        store.home().mkdir(parents=True, exist_ok=True, mode=0o700)
        log = (store.home() / "service.log").open("ab")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "fusion_engine.jobs", "--owner", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in the app's terminal must not kill jobs half-way
        )


def at_work(run: str) -> bool:
    """Whether the local service's scheduler has something of a run left to do. True where it cannot be asked."""
    service = running()
    if service is None or cluster() is not None:
        return True

    def busy(dask_scheduler: Any) -> bool:
        waiting = {"waiting", "no-worker", "queued", "processing"}
        return any(run in str(key) and task.state in waiting for key, task in dask_scheduler.tasks.items())

    try:
        with contextlib.ExitStack() as stack:
            # A client that stayed would keep the service alive after its owner.
            client = _clients.get(service["address"]) or stack.enter_context(_client(service["address"]))
            return bool(client.run_on_scheduler(busy))
    except Exception:  # it is busy, or just ending: the next look will tell
        return True


def hand_over(
    client: Client, tasks: Mapping[str, Task], begun: Callable[[], bool], *, light: bool, priority: int = 0
) -> None:
    """Submit tasks by key, the first ones first, and wait until the scheduler keeps them.

    begun: whether the last of them has begun, after which the scheduler may have forgotten it.
    """
    from distributed import fire_and_forget

    kind = "light" if light else "heavy"
    declared = any(kind in w.get("resources", {}) for w in client.scheduler_info()["workers"].values())
    resources = {kind: 1} if declared or cluster() is None else None
    for number, (key, (function, arguments)) in enumerate(tasks.items()):
        rank = priority - number
        future = client.submit(function, *arguments, key=key, pure=False, resources=resources, priority=rank)
        fire_and_forget(future)
    last = list(tasks)[-1]

    # Inner functions travel by value, so that a cluster's scheduler need not have this package.
    def kept(dask_scheduler: Any) -> bool:
        task = dask_scheduler.tasks.get(last)
        return task is not None and any(c.client_key == "fire-and-forget" for c in task.who_wants)

    # Messages leave in batches, a little later: without waiting for the answer a job could be lost unnoticed.
    deadline = time.monotonic() + _CONNECT_SECONDS
    while not client.run_on_scheduler(kept):
        if begun():
            return
        if time.monotonic() > deadline:
            raise JobError("the scheduler did not take the job")
        time.sleep(0.005)


def connect() -> Client:
    """The client of this process, made when first asked for."""
    found = running()
    if found is None:
        raise JobError("the job service does not run")
    address = str(found["address"])
    with _guard:
        if address not in _clients or _clients[address].status != "running":
            for old in _clients.values():
                old.close(timeout=1)
            _clients.clear()
            _clients[address] = _client(address)
        return _clients[address]


def _client(address: str) -> Client:
    from distributed import Client

    security = local_security() if cluster() is None else cluster_security(address)
    return Client(address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False)
