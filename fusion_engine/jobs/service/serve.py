"""The job service: a Dask scheduler and its workers on loopback, alive as long as somebody needs it."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import psutil
from dask.utils import format_bytes, parse_bytes
from distributed import Nanny, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.security import Security
from distributed.system import MEMORY_LIMIT
from filelock import FileLock, Timeout

from fusion_engine import store
from fusion_engine.core.errors import JobError, StoreError
from fusion_engine.store.files import write_json, writing

from . import parts, warm
from .keys import local_security, make_keys
from .workers import DIED, OUT_OF_MEMORY, SETTINGS, UNRECORDED, task_of

_LOOK_SECONDS = 0.1
_LEAST_MEMORY = 2**30  # bytes; a worker takes half of that as it starts

_CONFIG = {
    **SETTINGS,
    "distributed.worker.daemon": False,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.limit": "1h",
    # Pages about tasks and logs, open to everybody on this machine.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class RecordFailures(SchedulerPlugin):
    """Writes 'failed' into a run whose worker died for good, or could not write how it ended: nobody else would."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}  # reasons by task, where the store could not be written

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Called by the scheduler at each change of a task's state."""
        if finish == "erred" and str(key).startswith(("job-", "part-")):
            killed = "KilledWorker" in str(kwargs.get("exception_text") or kwargs.get("exception"))
            self.record(str(key), DIED if killed else UNRECORDED)

    def record(self, key: str, reason: str) -> None:
        """Record that a task ends nothing any more; later, while the store cannot be written."""
        what, _, rest = key.partition("-")
        run, attempt = rest[: store.ID_LENGTH], rest[store.ID_LENGTH + 1 :]
        self._waiting.pop(key, None)
        try:
            store.read_status(run)
        except StoreError:  # it was deleted
            return
        try:
            if what == "part":
                parts.record_failure(rest, reason)
            else:
                store.end_run(run, "failed", reason, int(attempt or 0))
        except StoreError:
            self._waiting[key] = reason

    def try_again(self) -> None:
        """Record what could not be recorded before."""
        for key, reason in list(self._waiting.items()):
            self.record(key, reason)


def serve(owner: int | None, heavy: int | None = None) -> None:
    """Run the service until it is told to stop, or its owner has ended and nothing is left to do.

    owner: process id whose end ends the service too. heavy: workers for long jobs. JobError if one runs already.
    """
    with writing():
        store.home().mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(store.home() / "service.lock", mode=0o600)
        try:
            lock.acquire(timeout=1.0)  # clients hold it for an instant when they look whether a service is alive
        except Timeout:
            raise JobError("a job service runs already for this store") from None
    address_file = store.home() / "service.json"
    try:
        address_file.unlink(missing_ok=True)
        with dask.config.set(_CONFIG):
            asyncio.run(_serve(owner, heavy or _default_workers(), address_file))
    finally:
        address_file.unlink(missing_ok=True)
        lock.release()


def _default_workers() -> int:
    given = os.environ.get("FUSION_WORKERS", "")
    if given:
        if not given.isdigit() or int(given) < 1:
            raise JobError(f"FUSION_WORKERS={given}: give a number of workers, 1 or more")
        return int(given)
    return min(4, max(1, _cores() // 2))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _serve(owner: int | None, heavy: int, address_file: Path) -> None:
    token, limit = secrets.token_hex(8), _memory_limit(heavy + 1)
    for leftover in store.folder("scratch").glob("task-*"):
        leftover.unlink(missing_ok=True)
    _close_interrupted()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        free = {"port": 0, "dashboard_address": "127.0.0.1:0"}  # usual ports may be other programs'
        make_keys()
        security = local_security()
        scheduler = await stack.enter_async_context(
            Scheduler(host="127.0.0.1", protocol="tls", security=security, dashboard=False, **free)
        )
        failures = RecordFailures()
        scheduler.add_plugin(failures)
        write_json(address_file, {"address": scheduler.address, "pid": os.getpid(), "token": token})
        workers = [_worker(scheduler.address, security, "light", 0, 1)]
        # A core is left to the app and the browser: threads that wait for one without a core of its own are several
        # times slower than fewer threads.
        threads = max(1, (_cores() - 1) // heavy)
        workers += [_worker(scheduler.address, security, "heavy", i, threads) for i in range(heavy)]
        nannies = await asyncio.gather(*workers)
        for nanny in nannies:
            stack.push_async_callback(nanny.close, timeout=2)
        watch = asyncio.create_task(_watch_memory(scheduler, nannies, failures, limit))
        stack.callback(watch.cancel)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
            failures.try_again()
            if owner is not None and not _alive(owner) and not _needed(scheduler):
                break


async def _worker(address: str, security: Security, kind: str, number: int, threads: int) -> Nanny:
    return await Nanny(
        address,
        name=f"{kind}-{number}",
        host="127.0.0.1",
        security=security,
        nthreads=1,
        resources={kind: 1},
        memory_limit=0,  # results never pass through Dask, so it has nothing to manage; `_watch_memory` looks instead
        preload=[warm.__name__],
        env={"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        local_directory=str(store.home() / "scratch"),
        dashboard=False,
    )


async def _watch_memory(scheduler: Scheduler, nannies: Sequence[Nanny], failures: RecordFailures, limit: int) -> None:
    """Kill a worker that takes more than `limit` bytes, and record why its task failed, so that it is not tried again.
    What waits at that worker goes elsewhere, without blame; its nanny starts a new one."""
    line = f"{OUT_OF_MEMORY}; a worker may take {format_bytes(limit)}"
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for nanny in nannies:
            process = nanny.pid
            try:
                if process is None or psutil.Process(process).memory_info().rss <= limit:
                    continue
                os.kill(process, signal.SIGKILL)
            except (psutil.Error, ProcessLookupError):
                continue
            if (task := task_of(process)) is not None:
                failures.record(task, line)
            await scheduler.remove_worker(nanny.worker_address, stimulus_id="memory", expected=True, close=False)


def _memory_limit(workers: int) -> int:
    """Bytes that one of `workers` may take: FUSION_WORKER_MEMORY, or its share of four fifths of the machine's."""
    given = os.environ.get("FUSION_WORKER_MEMORY", "")
    try:
        limit = parse_bytes(given) if given else int(0.8 * MEMORY_LIMIT / workers)
    except ValueError:
        limit = 0
    if limit < _LEAST_MEMORY and given:
        raise JobError(f"FUSION_WORKER_MEMORY={given}: give an amount of at least 1 GiB, such as 8GiB")
    return max(limit, _LEAST_MEMORY)


def _close_interrupted() -> None:
    """Runs that were at work when the last service ended will never go on."""
    for run in store.list_runs():
        if run["state"] not in store.FINISHED and not str(run["owner"]).startswith("cluster "):
            with contextlib.suppress(StoreError):
                store.end_run(run["id"], "failed", "interrupted: the job service stopped; run it again")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _needed(scheduler: Scheduler) -> bool:
    # A task that ended before it was marked "fire and forget" stays in the scheduler's memory: only work counts.
    busy = any(task.state in {"waiting", "no-worker", "queued", "processing"} for task in scheduler.tasks.values())
    return busy or any(name != "fire-and-forget" for name in scheduler.clients)
