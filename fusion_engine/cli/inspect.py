"""inspect: show the spaces and levels of parents, and verify that neurons can be exchanged; or tell of neurons."""

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.errors import FusionError
from fusion_engine.core.files import atomic_path
from fusion_engine.core.progress import Progress

from .leaderboard.inputs import words
from .options import add_options
from .output import check_writable, progress_line, table, write_report

_COLUMNS = ("neuron", "importance", "group", "mates", "mean", "std", "neighbours", "correlation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "parents", "--arch", "--weights")
    parser.add_argument("--input-shape", type=_shape, metavar="3,32,32", help="shape of one sample, if not known")
    parser.add_argument(
        "--tokens", type=words, default=[], metavar="input_ids,attention_mask", help="names of token inputs"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the permutations (default 0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--neurons", metavar="fc1/0:17,1:3-7", help="tell of these neurons: importance, group, mates, neighbours"
    )
    parser.add_argument("--calibration", metavar="FILE.npz", help="samples that --neurons looks at")
    add_options(parser, "--samples")
    parser.add_argument("--importance", default="activation", metavar="METHOD", help="of --neurons (activation)")
    parser.add_argument("--grouping", default="kmeans", metavar="METHOD", help="of --neurons (kmeans)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv|.json", help="where the table of --neurons goes")


def run(arguments: argparse.Namespace) -> None:
    """Print the preflight, or the neurons. FusionError (after printing) where the parents cannot be fused."""
    if arguments.neurons is not None:
        _tell(arguments)
        return
    from fusion_engine.jobs.kinds.preflight import inspect
    from fusion_engine.parents import load_parent

    parents = [
        load_parent(
            path, arguments.arch, input_shape=arguments.input_shape, tokens=arguments.tokens, weights=arguments.weights
        )
        for path in arguments.parents
    ]
    with progress_line() as progress:
        found = inspect(parents, arguments.input_shape, arguments.seed, progress)
    if arguments.json:
        print(json.dumps(found, indent=1))
    elif found["spaces"]:
        print(_text(found))
    if found["error"] is not None:
        raise FusionError(found["error"])


def _tell(arguments: argparse.Namespace) -> None:
    """Print or write the table of the neurons that were asked for."""
    if arguments.calibration is None:
        raise FusionError("--neurons needs samples to look at: give them with --calibration FILE.npz")
    if arguments.out is not None and arguments.out.suffix not in (".csv", ".json"):
        raise FusionError(f"{arguments.out.name}: the table is written as .csv or .json; end the name so")
    check_writable(arguments.out)
    from fusion_engine.data import load_data
    from fusion_engine.exploration.explored import explored
    from fusion_engine.exploration.neuron_rows import neuron_rows, split_spaces
    from fusion_engine.fusing import RunLog
    from fusion_engine.jobs.inputs import draw_samples
    from fusion_engine.parents import load_parents

    wanted = split_spaces(arguments.neurons)
    data = draw_samples(load_data(arguments.calibration, y_required=False), arguments.samples, arguments.seed)
    parents = load_parents(
        arguments.parents, arguments.arch, input_shape=data.input_shape, tokens=data.tokens, weights=arguments.weights
    )
    recipe = {"importance": arguments.importance, "grouping": arguments.grouping}
    with progress_line() as progress:
        found = explored(parents, data, recipe, RunLog(Progress.to(progress)), seed=arguments.seed)
    rows = neuron_rows(found, [parent.name for parent in parents], wanted)
    if arguments.out is None:
        shown = [(*_flat(row)[:6], row["neighbours"][0] if row["neighbours"] else "-") for row in rows]
        header = (*list(_COLUMNS)[:6], "nearest")
        print(json.dumps(rows, indent=1) if arguments.json else table(header, shown))
    elif arguments.out.suffix == ".json":
        write_report(arguments.out, rows)
    else:
        with atomic_path(arguments.out) as path, path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(map(_flat, rows))


def _flat(row: Mapping[str, Any]) -> list[object]:
    """A row's cells; lists are separated by spaces."""
    return [" ".join(map(str, row[key])) if isinstance(row[key], list) else row[key] for key in _COLUMNS]


def _text(found: Mapping[str, Any]) -> str:
    level_of = {level["index"]: level["name"] for level in found["levels"]}
    spaces = [
        (s["name"], s["size"], s["freedom"], level_of.get(s["level"], "-"), len(s["members"])) for s in found["spaces"]
    ]
    levels = [(v["index"], v["name"], ", ".join(v["layers"]) or "-", len(v["tensors"])) for v in found["levels"]]
    parts = [
        f"{len(spaces)} spaces of interchangeable neurons",
        table(("space", "neurons", "freedom", "level", "members"), spaces),
        f"{len(levels)} levels, each a sub-network with one tensor in and one out",
        table(("level", "name", "layers", "tensors"), levels),
        *(f"note: {line}" for line in found["warnings"]),
        _verified(found) if found["ok"] else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _verified(found: Mapping[str, Any]) -> str:
    worst = max(found["verify"].values(), default=0.0)
    return (
        f"verified: with all neurons in random order the outputs change by {worst:.1e} "
        f"(with other inputs by {found['sensitivity']:.1e})"
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write 3,32,32")
    return shape
