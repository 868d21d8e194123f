"""Exploring parents: moments of every space, per-neuron tables, and the files the pages draw them from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_engine.core.types import Grouping, Progress, ProgressCallback, Space
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace
from fusion_engine.grouping.heads import inner_stats
from fusion_engine.parents import Parent
from fusion_engine.stats import (
    FeatureMoments,
    SharedStatistics,
    SpaceStats,
    Wanted,
    feature_sites,
    fitting_batch,
    grouping_sites,
    read_moments,
)
from fusion_engine.store.files import write_json

from .tables import SpaceTables, space_tables

__all__ = ["described_inputs", "joint_stats", "levels_json", "write_exploration"]

Importance = Mapping[str, Sequence[np.ndarray]]


def joint_stats(
    graph: Trace,
    parents: Sequence[Parent],
    data: Dataset,
    importance: Importance,
    groupings: Mapping[str, Grouping],
    shared: SharedStatistics,
    *,
    seed: int,
    on_progress: ProgressCallback,
) -> dict[str, SpaceStats]:
    """Joint moments of all spaces, in one pass.

    Inside attention heads the neurons of the heads that met are shown together, as they were grouped.
    """
    met = {name for name, grouping in groupings.items() if "sources" in grouping.info}
    sites = {name: places for name, places in feature_sites(graph).items() if name not in met}
    if met:  # what they are shown by: every entry of the heads
        sites |= {key: places for key, places in grouping_sites(graph).items() if key not in graph.spaces}
    states, size = [p.state for p in parents], fitting_batch(graph, copies=len(parents))

    def read(gathered: FeatureMoments) -> None:
        read_moments(gathered, graph, states, data, batch_size=size, on_progress=on_progress)

    moments = shared.moments(Wanted(graph, states, data, sites, size, precision="double"), read)
    stats = {}
    for name in feature_sites(graph):
        if name in met:
            sources = groupings[name].info["sources"]
            theirs = [importance[source][p] for p, source in enumerate(sources)]
            stats[name] = inner_stats(graph, name, sources, moments, theirs, seed)
            continue
        found = moments[name]
        scores = importance[name]
        stats[name] = SpaceStats(
            space=name,
            sizes=tuple(len(s) for s in scores),
            gram=found.gram,
            means=found.mean,
            count=found.count,
            importance=tuple(np.asarray(s, np.float64) for s in scores),
            size=groupings[name].size,
            seed=seed,
            freedom=graph.spaces[name].freedom,
        )
    return stats


def described_inputs(parents: Sequence[Parent], data: Dataset, seed: int) -> dict[str, Any]:
    """The entries of explore.json about what was read."""
    return {
        "parents": [p.name for p in parents],
        "classes": parents[0].classes,
        "samples": len(data),
        "seed": seed,
        "labelled": data.y is not None,
    }


def write_exploration(
    folder: Path,
    graph: Trace,
    stats: Mapping[str, SpaceStats],
    groupings: Mapping[str, Grouping],
    shapes: Mapping[str, Sequence[int]],
    about: Mapping[str, Any],
    started: float,
    on_progress: ProgressCallback,
) -> None:
    """Write explore.json, explore.npz and features.npz (docs/architecture.md) for every space with moments.

    shapes: of the parents' tensors. about: the entries of explore.json that
    do not depend on spaces.
    started: time.perf_counter() at the start of the work.
    """
    spaces: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    for index, (name, of_space) in enumerate(stats.items()):
        on_progress(Progress("tables", index / len(stats), f"Describing {name}"))
        tables: SpaceTables = space_tables(of_space, groupings[name])
        arrays |= {f"{index}/{key}": value for key, value in tables.arrays.items()}
        features[f"{index}/coordinates"] = tables.features
        described = _described(graph, graph.spaces[name], shapes)
        spaces.append({"index": index, "name": name, **described, **tables.info})
    np.savez(folder / "explore.npz", **arrays)  # type: ignore[arg-type]
    np.savez(folder / "features.npz", **features)  # type: ignore[arg-type]
    levels = levels_json(graph)
    for level in levels:
        level["spaces"] = [s["name"] for s in spaces if s["level"] == level["index"]]
    seconds = round(time.perf_counter() - started, 3)
    write_json(folder / "explore.json", {**about, "spaces": spaces, "levels": levels, "seconds": seconds})


def levels_json(graph: Trace) -> list[dict[str, Any]]:
    """JSON-able description of the levels."""
    return [
        {
            "index": level.index,
            "name": level.name,
            "layers": list(level.layers),
            "tensors": list(level.tensors),
            "output_shape": None if level.output_shape is None else list(level.output_shape),
        }
        for level in graph.levels
    ]


def _described(graph: Trace, space: Space, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    layer = next((layer for layer in graph.layers.values() if layer.space == space.name), None)
    return {
        "level": graph.level_of(space),
        "freedom": space.freedom,
        "block": space.block,
        "kind": None if layer is None else layer.kind,
        "weight": None if layer is None else layer.weight,
        "shape": None if layer is None else list(shapes[layer.weight]),
    }
