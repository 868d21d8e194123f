"""Job explore: importance, moments and a grouping of every space, without fusing anything."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.context import FusionContext
from fusion_engine.core.progress import Progress
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import canonical_order, check_samples
from fusion_engine.exploration.joint_stats import joint_stats
from fusion_engine.exploration.writing import described_inputs, write_exploration
from fusion_engine.graph import trace
from fusion_engine.parents import check_parents
from fusion_engine.pipeline import score_parent
from fusion_engine.solvers.spaces import group_spaces
from fusion_engine.widths import plan_widths

from ..inputs import read_data, read_parents, whole_number
from ..statistics import shared_statistics

__all__ = ["run"]


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write explore.json, explore.npz and features.npz; see docs/architecture.md."""
    started = time.perf_counter()
    parents = read_parents(arguments["parents"])
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = whole_number(arguments, "samples", 400, 1, 10**9)
    check_parents(parents, minimum=1)
    data = canonical_order(read_data(arguments["data"], samples, seed))
    check_samples(data, parents[0].classes, parents[0].input_shape)
    recipe = Recipe.from_mapping(
        {
            "importance": arguments.get("importance") or "activation",
            "grouping": arguments.get("grouping") or "kmeans",
        }
    ).checked(len(parents), [] if data.y is None else ["labels"])
    progress.part(0.0, 1.0, "trace").report(0.02, "Tracing the architecture")
    example = data.normalised(slice(0, 2))
    widths = plan_widths(parents, trace(parents[0].model, (example,)), example)
    graph, states = widths.trace, tuple(p.state for p in parents)
    shared = shared_statistics(parents)
    scores = []
    for p, parent in enumerate(parents):
        progress.part(0.1, 0.4, "importance").report(p / len(parents), f"Scoring the neurons of {parent.name}")
        scores.append(score_parent(shared, graph, parent, parent.state, data, recipe.importance))
    importance = {name: [s[name].double().cpu().numpy() for s in scores] for name in scores[0]}
    grouped = progress.part(0.4, 0.6, "grouping")
    context = FusionContext(
        trace=graph,
        states=states,
        data=data,
        importance=tuple(scores),
        grouping=recipe.grouping,
        seed=seed,
        progress=lambda stage, fraction, message, detail=None: grouped.report(fraction, message),
        sizes=widths.sizes,
        shared=shared,
    )
    groupings, _ = group_spaces(context)
    stats = joint_stats(
        graph, parents, data, importance, groupings, shared, seed=seed, progress=progress.part(0.6, 0.7)
    )
    about = {
        **described_inputs(parents, data, seed),
        "importance": recipe.importance.written(),
        "grouping": recipe.grouping.written(),
        "warnings": [*graph.warnings, *widths.notes, *context.notes],
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
