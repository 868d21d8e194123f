"""The files that pages draw an exploration from: per-neuron tables of every space, and what they are of."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from fusion_engine.core.progress import Progress
from fusion_engine.core.types import Grouping, Space
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace
from fusion_engine.grouping.editing import refused_spaces
from fusion_engine.parents import Parent
from fusion_engine.stats import SpaceStats
from fusion_engine.store.files import write_json
from fusion_engine.store.shapes import Exploration, ExploredSpace

from .space_tables import SpaceTables, space_tables
from .structure import levels_json
from .verdict import network_verdict


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
    progress: Progress,
) -> None:
    """Write explore.json, explore.npz and features.npz (docs/architecture.md) for every space with moments.

    shapes: of the parents' tensors. about: the entries of explore.json that
    do not depend on spaces.
    started: time.perf_counter() at the start of the work.
    """
    spaces: list[ExploredSpace] = []
    arrays: dict[str, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    for index, (name, of_space) in enumerate(stats.items()):
        progress.part(0.0, 1.0, "tables").report(index / len(stats), f"Describing {name}")
        tables: SpaceTables = space_tables(of_space, groupings[name])
        arrays |= {f"{index}/{key}": value for key, value in tables.arrays.items()}
        features |= {f"{index}/{key}": value for key, value in tables.features.items()}
        described = _described(graph, graph.spaces[name], shapes)
        spaces.append(cast(ExploredSpace, {"index": index, "name": name, **described, **tables.info}))
    np.savez(folder / "explore.npz", **arrays)  # type: ignore[arg-type]
    np.savez(folder / "features.npz", **features)  # type: ignore[arg-type]
    levels = levels_json(graph)
    for level in levels:
        level["spaces"] = [s["name"] for s in spaces if s["level"] == level["index"]]
    seconds = round(time.perf_counter() - started, 3)
    judged = network_verdict([(space["name"], space["verdict"]) for space in spaces])
    exploration = cast(
        Exploration, {**about, "spaces": spaces, "levels": levels, "verdict": judged, "seconds": seconds}
    )
    write_json(folder / "explore.json", exploration)


def _described(graph: Trace, space: Space, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    layer = next((layer for layer in graph.layers.values() if layer.space == space.name), None)
    return {
        "edits_refused": refused_spaces(graph).get(space.name, ""),
        "level": graph.level_of(space),
        "freedom": space.freedom,
        "block": space.block,
        "kind": None if layer is None else layer.kind,
        "weight": None if layer is None else layer.weight,
        "shape": None if layer is None else list(shapes[layer.weight]),
    }
