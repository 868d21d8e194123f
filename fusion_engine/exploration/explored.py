"""An exploration: importance, moments and a grouping of every space, without fusing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_engine.core.recipe import Recipe
from fusion_engine.core.types import Grouping
from fusion_engine.data import Dataset
from fusion_engine.fusing import RunLog
from fusion_engine.graph import Trace
from fusion_engine.grouping import group_every_space
from fusion_engine.parents import Parent
from fusion_engine.pipeline import prepare
from fusion_engine.stats import SpaceStats, StatisticsCache

from .joint_stats import joint_stats


@dataclass(frozen=True)
class Explored:
    """recipe: of what was explored by, all defaults filled in. stats, groupings: by space."""

    recipe: Recipe
    graph: Trace
    stats: Mapping[str, SpaceStats]
    groupings: Mapping[str, Grouping]


def explored(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: Mapping[str, Any],
    log: RunLog,
    *,
    seed: int = 0,
    cache: StatisticsCache | None = None,
) -> Explored:
    """Score, group and measure the neurons of every space. recipe: importance, grouping, and edits if any. Raises
    FusionError as `fuse` does."""
    prepared = prepare(parents, data, recipe, log.part(0.0, 0.57, "trace"), seed=seed, cache=cache, exploring=True)
    inputs, step, shared = prepared.inputs, prepared.recipe.grouping, prepared.statistics
    edits = prepared.recipe.edits
    grouped = group_every_space(inputs, step, log.part(0.57, 0.86, "grouping"), statistics=shared, edits=edits)
    grouped.check()
    importance = {n: [s[n].double().cpu().numpy() for s in inputs.importance] for n in inputs.importance[0]}
    stats = joint_stats(
        inputs.trace, parents, inputs.data, importance, grouped.groupings, shared, seed=seed,
        progress=log.progress.part(0.86, 1.0),
    )  # fmt: skip
    return Explored(prepared.recipe, inputs.trace, stats, grouped.groupings)
