"""Job leaderboard: presets x importances x seeds over one set of parents, a fusion a part. Loads nothing heavy until it
plans or fuses: the scheduler records failures through it.

The run's folder holds plan.json (the rows to be), rows.jsonl (those that are done, in the order in which they were),
leaderboard.json (the table of them) and, until the end, shared/ (what the fusions have in common).
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from fusion_engine import store
from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress, ProgressEvent
from fusion_engine.leaderboard.rows import REFERENCES, Row, kept_rows
from fusion_engine.leaderboard.table import standings
from fusion_engine.store.files import append_line, read_json, read_lines, write_bytes, write_json, writing

if TYPE_CHECKING:
    from fusion_engine.leaderboard.plan import Inputs
    from fusion_engine.stats import StatisticsCache

_PLAN, _ROWS, _TABLE, _SHARED = "plan.json", "rows.jsonl", "leaderboard.json", "shared"


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Plan the rows and write plan.json; those that cannot run are done with that. See docs/architecture.md."""
    from fusion_engine.leaderboard.plan import make_plan

    progress.part(0.0, 1.0, "plan").report(0.0, "Reading parents and data")
    inputs = _read_inputs(arguments)
    progress.part(0.0, 1.0, "plan").report(0.0, "Checking what can run")
    presets = "all" if arguments.get("presets") in (None, "all") else _names(arguments, "presets")
    plan = make_plan(inputs, presets or (), _names(arguments, "importances"), _seeds(arguments))
    planned = [row.as_json() for row in plan]
    # A restarted run keeps what it has, but for what failed: that is tried again.
    rows = list(kept_rows(inputs.digest, plan, read_lines(folder.parent / _ROWS)).values())
    rows += [{**row, "kind": "fusion", "state": "unavailable"} for row in planned if row["reason"]]
    write_json(folder / _PLAN, {"inputs": inputs.digest, "rows": planned})
    write_bytes(folder / _ROWS, "".join(json.dumps(row) + "\n" for row in rows).encode())
    write_json(folder / _TABLE, {**standings(planned, rows), "rows": rows})


def pending(run: str) -> list[str]:
    """Keys of the rows that are to be run, the references first. Where all are recorded, but not the end of the run,
    as its worker died in between, the last one is to be run again."""
    folder = store.run_folder(run)
    done = [row["key"] for row in read_lines(folder / _ROWS)]
    planned = [row["key"] for row in _plan(folder) if not row["reason"]]
    left = [key for key in (REFERENCES, *planned) if key not in done]
    return left or ([] if store.read_status(run)["state"] in store.FINISHED else done[-1:])


def run_part(run: str, part: str, progress: Progress) -> None:
    """Run one row and record it; the last one ends the run."""
    from fusion_engine.leaderboard.run import references, run_row

    folder = store.run_folder(run)
    plan = _plan(folder)
    share = len(read_lines(folder / _ROWS)) / (len(plan) + 1)
    row = next((Row(**row) for row in plan if row["key"] == part), None)
    name = "references" if row is None else f"{row.label}, seed {row.seed}"

    def report(event: ProgressEvent) -> None:
        at_row.report(0.0, f"{name}: {event.message}")

    at_row = progress.part(share, share, "leaderboard")
    at_row.report(0.0, f"{name}: starting")
    inputs, cache = _prepared(run, str(folder))
    if row is None:
        found = references(inputs, cache=cache, on_progress=report)
    else:
        found = run_row(inputs, row, cache=cache, on_progress=report)
    at_row.report(0.0, f"{name}: recording")  # a run cancelled meanwhile gets no more rows
    if _record(run, found):
        _prepared.cache_clear()


def part_failed(run: str, part: str, reason: str) -> None:
    """Record a row that brought its worker down."""
    planned = next((row for row in _plan(store.run_folder(run)) if row["key"] == part), None)
    about = planned or {"key": REFERENCES, "references": [], "parents": []}
    kind = REFERENCES if planned is None else "fusion"
    _record(run, {**about, "kind": kind, "state": "failed", "reason": reason})


def _record(run: str, row: Mapping[str, Any]) -> bool:
    """Append a row and write the table of all; ends the run with its last row. Whether it did."""
    folder = store.run_folder(run)
    with writing(), FileLock(folder / "rows.lock", mode=0o600):
        append_line(folder / _ROWS, json.dumps(row, allow_nan=False))
        rows = list({line["key"]: line for line in read_lines(folder / _ROWS)}.values())
        table = standings(_plan(folder), rows)
        write_json(folder / _TABLE, {**table, "rows": rows})
        ended = table["done"] == table["total"] and store.end_run(run, "done")
    if ended:
        shutil.rmtree(folder / _SHARED, ignore_errors=True)
    return ended


@functools.lru_cache(maxsize=1)
def _prepared(run: str, folder: str) -> tuple[Inputs, StatisticsCache]:
    """What the parts of a run have in common, read once by each worker."""
    from fusion_engine.stats import StatisticsCache

    return _read_inputs(store.read_job(run)["arguments"]), StatisticsCache(Path(folder) / _SHARED)


def _read_inputs(arguments: Mapping[str, Any]) -> Inputs:
    from fusion_engine.leaderboard.plan import Inputs
    from fusion_engine.parents import check_parents, load_base

    from ..inputs import read_base, read_data, read_parents, whole_number

    seeds = _seeds(arguments)
    if not arguments.get("test"):
        raise JobError("a leaderboard measures what it fuses: choose test data")
    samples = arguments.get("samples") and whole_number(arguments, "samples", 0, 1, 10**9)
    data = read_data(arguments["data"], samples, seeds[0])
    test = read_data(arguments["test"], y_required=True)
    parents = read_parents(arguments["parents"])
    check_parents(parents)
    base = load_base(read_base(arguments["base"]), parents) if arguments.get("base") else None
    return Inputs(parents, data, test, arguments.get("device") or "cpu", base)


def _seeds(arguments: Mapping[str, Any]) -> list[int]:
    seeds = arguments.get("seeds") or [0]
    if not isinstance(seeds, list) or not all(isinstance(s, int) and 0 <= s < 2**31 for s in seeds):
        raise JobError("seeds must be a list of whole numbers from 0")
    return seeds


def _names(arguments: Mapping[str, Any], name: str) -> list[str] | None:
    given = arguments.get(name)
    if given is not None and not (isinstance(given, list) and all(isinstance(entry, str) for entry in given)):
        raise JobError(f"{name} must be a list of names")
    return given


def _plan(folder: Path) -> list[dict[str, Any]]:
    return list(read_json(folder / _PLAN, "the plan of this leaderboard")["rows"])
