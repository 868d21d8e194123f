"""Jobs of many parts: a first task plans, then every part is a task of its own. Imports nothing heavy itself.

The module of such a kind has `pending(run) -> [part]` (names of letters, digits and dashes), `run_part(run, part,
progress)` and `part_failed(run, part, reason)`; the last two record what came out, and the one that records the last
part ends the run. Parts survive the process that planned them, and a killed worker's part is done again elsewhere.
"""

import contextlib
import importlib
from types import ModuleType

from fusion_engine import store
from fusion_engine.core.errors import Cancelled, StoreError
from fusion_engine.core.progress import Progress

from ..kinds import KINDS
from ..progress import RunProgress
from .connect import hand_over
from .workers import at_task

_BEHIND = -1  # parts wait for whole jobs: a fusion asked for meanwhile does not stand behind a leaderboard
_CONNECT_SECONDS = 10
_INTERVAL = 0.5  # seconds between events: many parts report to one run


def start(run: str) -> None:
    """Hand all parts that are not done to the scheduler; without one (in a plain process) do them here."""
    from distributed import Client, get_worker

    attempt = store.attempt_of(run)
    waiting = _module(run).pending(run)
    if not waiting:
        return
    try:
        worker = get_worker()
    except ValueError:
        for part in waiting:
            run_part(run, attempt, part)
        return
    tasks = {f"part-{run}-{attempt}-{part}": (run_part, (run, attempt, part)) for part in waiting}
    # A client that stayed would keep the service alive after its owner.
    address, security = worker.scheduler.address, worker.security
    with Client(address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False) as client:
        hand_over(
            client, tasks, lambda: waiting[-1] not in _module(run).pending(run), light=False, priority=_BEHIND
        )


def run_part(run: str, attempt: int, part: str) -> None:
    """Do one part, unless its run was ended, restarted or deleted meanwhile, or the part is done already; of a chain
    hand over the next one."""
    with at_task(f"part-{run}-{attempt}-{part}"), contextlib.suppress(StoreError, Cancelled):
        if store.read_status(run)["state"] in store.FINISHED or store.attempt_of(run) != attempt:
            return
        module = _module(run)
        if part in module.pending(run):
            module.run_part(run, part, Progress(RunProgress(run, _INTERVAL)))
        if KINDS[store.read_job(run)["kind"]].chained and part not in module.pending(run):
            start(run)


def record_failure(key: str, reason: str) -> None:
    """Record that a part's worker died; key: of its task, without the leading word."""
    run, attempt, part = key[: store.ID_LENGTH], *key[store.ID_LENGTH + 1 :].split("-", 1)
    if store.read_status(run)["state"] not in store.FINISHED and store.attempt_of(run) == int(attempt):
        _module(run).part_failed(run, part, reason)


def _module(run: str) -> ModuleType:
    return importlib.import_module(KINDS[store.read_job(run)["kind"]].module)
