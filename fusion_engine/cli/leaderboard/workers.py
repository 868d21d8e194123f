"""Rows of a leaderboard in several processes of this machine: one fusion a task."""

from __future__ import annotations

import argparse
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_engine.jobs.service.workers import DIED, SETTINGS
from fusion_engine.leaderboard.rows import REFERENCES, Row

from .inputs import READ, read_inputs

if TYPE_CHECKING:
    from fusion_engine.leaderboard.plan import Inputs
    from fusion_engine.stats import StatisticsCache

def results(arguments: argparse.Namespace, todo: Sequence[Row | None], shared: Path) -> Iterator[dict[str, Any]]:
    """The rows as they are done; None stands for the references. A killed worker's row is run again elsewhere, once."""
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    import dask
    from distributed import Client, LocalCluster, as_completed

    workers = min(arguments.workers, len(todo))
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    with (
        dask.config.set({**SETTINGS, "distributed.nanny.environ": environment}),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None,
            security=True,  # keys of its own: a scheduler runs whatever anybody on this machine sends it
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # its usual port may be another program's
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        given = json.dumps({name: getattr(arguments, name) for name in READ})
        futures = {
            client.submit(_work, given, None if row is None else row.as_json(), str(shared), pure=False): row
            for row in todo
        }
        for future in as_completed(list(futures), loop=client.loop):
            row = futures[future]
            if future.status == "finished":
                yield future.result()
            elif row is None:
                yield {"key": REFERENCES, "kind": REFERENCES, "state": "failed", "reason": DIED}
            else:
                yield {**row.as_json(), "kind": "fusion", "state": "failed", "reason": DIED}


def _work(given: str, row: Mapping[str, Any] | None, shared: str) -> dict[str, Any]:
    from fusion_engine.leaderboard.run import references, run_row

    inputs, cache = _prepared(given, shared)
    return references(inputs, cache=cache) if row is None else run_row(inputs, Row(**row), cache=cache)


@functools.lru_cache(maxsize=1)
def _prepared(given: str, shared: str) -> tuple[Inputs, StatisticsCache]:
    """What this process's rows have in common, read once."""
    from fusion_engine.stats import StatisticsCache

    return read_inputs(argparse.Namespace(**json.loads(given))), StatisticsCache(Path(shared))
