"""Job fuse: the full run folder of a fusion, with the tables the pages explain it by."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.data import canonical_order
from fusion_engine.exploration.joint_stats import joint_stats
from fusion_engine.exploration.writing import described_inputs, write_exploration
from fusion_engine.parents import check_parents
from fusion_engine.pipeline import fuse, fuse_again

from ..fusions import finished_run
from ..inputs import read_base, read_data, read_parents, whole_number
from ..statistics import shared_statistics, statistics


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Fuse and write everything docs/architecture.md lists for this kind. from_run: a finished fuse run of the same
    parents, samples, seed and recipe apart from edits, to go on from."""
    started = time.perf_counter()
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = arguments.get("samples") and whole_number(arguments, "samples", 0, 1, 10**9)
    progress.part(0.0, 1.0, "load").report(0.0, "Reading parents and data")
    parents = read_parents(arguments["parents"])
    check_parents(parents)
    data = canonical_order(read_data(arguments["data"], samples, seed))
    test = read_data(arguments["test"], y_required=True) if arguments.get("test") else None
    base = read_base(arguments["base"]) if arguments.get("base") else None
    loaded = time.perf_counter() - started
    earlier = arguments.get("from_run")
    finished = finished_run(earlier, arguments, parents) if earlier else None
    options: dict[str, Any] = {
        "seed": seed, "test": test, "on_progress": progress.part(0.02, 0.8),
        "device": arguments.get("device") or "cpu", "base": base, "cache": statistics(),
    }  # fmt: skip
    if finished is None:
        result = fuse(parents, data, arguments["recipe"], **options)
    else:
        result = fuse_again(parents, data, arguments["recipe"], finished, **options)
        accuracy = finished.report.get("fused", {}).get("accuracy")
        result.report["before"] = {"run": earlier, "accuracy": accuracy}
    result.report["seconds"]["load"] = round(loaded, 4)
    result.save(folder)
    progress.part(0.0, 1.0, "explain").report(0.8, "Reading the neurons for the pages")
    stats = joint_stats(
        result.trace,
        parents,
        data,
        result.importance,
        result.groupings,
        shared_statistics(parents),
        seed=seed,
        progress=progress.part(0.8, 0.9),
    )
    recipe = result.recipe.to_mapping()
    about = {
        **described_inputs(parents, data, seed),
        "importance": recipe["importance"],
        "grouping": recipe["grouping"],
        "warnings": result.report["warnings"],
    }
    write_exploration(
        folder,
        result.trace,
        stats,
        result.groupings,
        {name: tuple(t.shape) for name, t in parents[0].state.items()},
        about,
        started,
        progress.part(0.9, 1.0),
    )
