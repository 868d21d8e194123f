"""Job explore: importance, moments and a grouping of every space, without fusing anything."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.exploration.joint_stats import joint_stats
from fusion_engine.exploration.writing import described_inputs, write_exploration
from fusion_engine.fusing import RunLog
from fusion_engine.grouping import group_every_space
from fusion_engine.pipeline import prepare

from ..inputs import read_data, read_parents, whole_number
from ..statistics import statistics


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
    log, cache = RunLog(progress), statistics()
    prepared = prepare(parents, data, recipe, log.part(0.0, 0.4, "trace"), seed=seed, cache=cache, exploring=True)
    inputs, step, shared = prepared.inputs, prepared.recipe.grouping, prepared.statistics
    edits = prepared.recipe.edits
    grouped = group_every_space(inputs, step, log.part(0.4, 0.6, "grouping"), statistics=shared, edits=edits)
    grouped.check()
    graph, groupings = inputs.trace, grouped.groupings
    importance = {n: [s[n].double().cpu().numpy() for s in inputs.importance] for n in inputs.importance[0]}
    stats = joint_stats(
        graph, parents, inputs.data, importance, groupings, shared, seed=seed, progress=progress.part(0.6, 0.7)
    )
    about = {
        **described_inputs(parents, data, seed),
        "importance": prepared.recipe.importance.written(),
        "grouping": step.written(),
        "warnings": log.notes,
    }
    write_exploration(
        folder,
        graph,
        stats,
        groupings,
        {name: tuple(t.shape) for name, t in parents[0].state.items()},
        about,
        started,
        progress.part(0.7, 1.0),
    )
