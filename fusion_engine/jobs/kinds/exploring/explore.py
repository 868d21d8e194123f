"""Job explore: importance, moments and a grouping of every space, without fusing anything."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.exploration.explored import explored
from fusion_engine.exploration.writing import described_inputs, write_exploration
from fusion_engine.fusing import RunLog

from ...inputs import read_data, read_parents, whole_number
from ...statistics import statistics


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write explore.json, explore.npz and features.npz; see docs/architecture.md."""
    started = time.perf_counter()
    parents = read_parents(arguments["parents"])
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = whole_number(arguments, "samples", 400, 1, 10**9)
    data = read_data(arguments["data"], samples, seed)
    recipe = {
        "importance": arguments.get("importance") or "activation",
        "grouping": arguments.get("grouping") or "kmeans",
        "edits": arguments.get("edits") or [],
    }
    log = RunLog(progress)
    found = explored(parents, data, recipe, log.part(0.0, 0.7, "trace"), seed=seed, cache=statistics())
    about = {
        **described_inputs(parents, data, seed),
        "importance": found.recipe.importance.written(),
        "grouping": found.recipe.grouping.written(),
        "warnings": log.notes,
    }
    write_exploration(
        folder,
        found.graph,
        found.stats,
        found.groupings,
        {name: tuple(t.shape) for name, t in parents[0].state.items()},
        about,
        started,
        progress.part(0.7, 1.0),
    )
