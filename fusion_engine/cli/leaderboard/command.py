"""The command itself: what is asked for, what is done already, the table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_engine.core.errors import FusionError
from fusion_engine.leaderboard.rows import REFERENCES, Row, kept_rows
from fusion_engine.leaderboard.table import standings
from fusion_engine.store.files import append_line, read_lines

from ..options import add_options
from ..output import check_writable, write_report
from .inputs import read_inputs, read_seeds, words
from .view import LiveTable, text

if TYPE_CHECKING:
    from fusion_engine.leaderboard.plan import Inputs

_ROWS, _SHARED = "rows.jsonl", "shared"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch", "--weights")
    parser.add_argument("--calibration", required=True, metavar="FILE.npz", help="samples the fusions may look at")
    parser.add_argument("--test", required=True, metavar="FILE.npz", help="labelled samples to measure them on")
    parser.add_argument("--base", metavar="FILE", help="model the parents were trained from, for recipes that need it")
    parser.add_argument("--presets", default="all", metavar="A,B", help="names of recipes, or all (default)")
    parser.add_argument(
        "--importances", metavar="A,B", help="methods to try with every preset; own: the preset's own (default)"
    )
    parser.add_argument("--seeds", default="0", metavar="0,1,2", help="one fusion a seed (default 0)")
    add_options(parser, "--task", "--samples", "--device")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="fusions at a time, each in a process")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the rows; given again, it goes on where it stopped"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="where the table and all rows go")


def run(arguments: argparse.Namespace) -> None:
    """Run what is not done yet and print the table."""
    check_writable(arguments.report)
    seeds = read_seeds(arguments.seeds)
    if arguments.workers < 1:
        raise FusionError(f"--workers {arguments.workers}: at least 1 is needed")
    from fusion_engine.leaderboard.plan import make_plan

    inputs = read_inputs(arguments)
    presets = "all" if arguments.presets == "all" else words(arguments.presets)
    plan = make_plan(inputs, presets, None if arguments.importances is None else words(arguments.importances), seeds)
    with _folder(arguments.out) as folder:
        earlier = read_lines(folder / _ROWS)
        if not all(_belongs(row, inputs.digest) for row in earlier):
            raise FusionError(f"{folder}: {_ROWS} there is not of these parents, data and version; give another folder")
        rows = kept_rows(inputs.digest, plan, earlier)
        planned = [row.as_json() for row in plan]
        live = LiveTable()
        todo = [row for row in (None, *plan) if (REFERENCES if row is None else row.key) not in rows]
        try:
            for row in _results(arguments, inputs, todo, folder / _SHARED, live):
                rows[row["key"]] = row
                append_line(folder / _ROWS, json.dumps(row, allow_nan=False))
                live.show(standings(planned, list(rows.values())), row)
        except KeyboardInterrupt:
            live.clear()
            kept = "the same --out goes on where it stopped" if arguments.out else "nothing was written"
            print(f"interrupted; {kept}", file=sys.stderr)
            raise SystemExit(130) from None
        live.clear()
    table = standings(planned, list(rows.values()))
    write_report(arguments.report, {**table, "rows": list(rows.values()), **_about(inputs, seeds)})
    print(text(table))


def _results(
    arguments: argparse.Namespace, inputs: Inputs, todo: Sequence[Row | None], shared: Path, live: LiveTable
) -> Iterator[dict[str, Any]]:
    """The rows as they are done; None stands for the references."""
    if min(arguments.workers, len(todo)) > 1:
        from .workers import results

        yield from results(arguments, todo, shared)
        return
    from fusion_engine.leaderboard.run import references, run_row
    from fusion_engine.stats import StatisticsCache

    cache = StatisticsCache(shared)
    for row in todo:
        if row is None:
            yield references(inputs, cache=cache, on_progress=live.progress("references"))
        else:
            yield run_row(inputs, row, cache=cache, on_progress=live.progress(f"{row.label}, seed {row.seed}"))


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder of the rows; one that vanishes if none was given."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="leaderboard-") as name:
            yield Path(name)
        return
    if out.exists() and not out.is_dir():
        raise FusionError(f"{out}: this is a file; give the name of a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise FusionError(f"{out}: this folder cannot be made") from None
    if not os.access(out, os.W_OK):
        raise FusionError(f"{out}: this folder cannot be written to")
    yield out


def _belongs(row: Any, digest: str) -> bool:
    """Whether a line of an earlier run's rows is a row, and not of other inputs."""
    return isinstance(row, dict) and {"key", "state"} <= row.keys() and row.get("inputs", digest) == digest


def _about(inputs: Inputs, seeds: Sequence[int]) -> dict[str, Any]:
    from fusion_engine.jobs.service.warm import versions

    sets = {"calibration": inputs.data, "test": inputs.test}
    about = {name: {"samples": len(data), "digest": data.digest} for name, data in sets.items()}
    return {**about, "seeds": list(seeds), "versions": versions()}
