"""A fusion under test: what the pipeline would hand from stage to stage, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fusion_engine import post, solvers
from fusion_engine.core import registry
from fusion_engine.core.recipe import Step
from fusion_engine.core.types import Grouping, State
from fusion_engine.data import Dataset
from fusion_engine.fusing import Inputs, Resume, RunLog
from fusion_engine.graph import Trace
from fusion_engine.grouping import Grouped, group_every_space

__all__ = ["Fusion", "group", "refine", "solve"]


@dataclass(frozen=True)
class Fusion:
    """The inputs of a fusion, its grouping step and its log; groupings once there are any."""

    trace: Trace
    states: tuple[State, ...]
    data: Dataset
    importance: tuple[Mapping[str, torch.Tensor], ...]
    grouping: Step
    sizes: Mapping[str, int] = field(default_factory=dict)
    class_counts: np.ndarray | None = None
    base: State | None = None
    seed: int = 0
    reserve: bool = False
    resume: Resume | None = None
    groupings: Mapping[str, Grouping] = field(default_factory=dict)
    log: RunLog = field(default_factory=RunLog)

    @property
    def inputs(self) -> Inputs:
        return Inputs(
            self.trace, self.states, self.data, self.importance, self.sizes, self.class_counts, self.base, self.seed,
            reserve=self.reserve, resume=self.resume,
        )  # fmt: skip

    @property
    def held_out(self) -> torch.Tensor:
        return self.inputs.held_out

    @property
    def notes(self) -> list[str]:
        return self.log.notes

    @property
    def decisions(self) -> dict[str, Any]:
        return self.log.decisions


def group(fusion: Fusion, solver: str = "average", parameters: Mapping[str, Any] | None = None) -> Grouped:
    """The grouping of every space, with the features kept that the solver will read."""
    inputs, filled = fusion.inputs, registry.check_parameters("solver", solver, dict(parameters or {}))
    step = fusion.grouping.method
    checked = Step(method=step, parameters=registry.check_parameters("grouping", step, fusion.grouping.parameters))
    nodes, budget = solvers.nodes_to_read(inputs, solver, filled)
    log = fusion.log.part(0.0, 0.4, "grouping")
    return group_every_space(inputs, checked, log, nodes=nodes, budget=budget, given=fusion.groupings)


def solve(
    fusion: Fusion, solver: str, parameters: Mapping[str, Any] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Grouping]]:
    """Fused state and groupings."""
    grouped = group(fusion, solver, parameters)
    state = solvers.solve(fusion.inputs, grouped, fusion.log.part(0.4, 0.7, "solve"), solver, parameters)
    return state, grouped.groupings


def refine(
    fusion: Fusion, state: State, step: str, parameters: Mapping[str, Any] | None = None
) -> dict[str, torch.Tensor]:
    """The state after a refining step."""
    log = fusion.log.part(0.7, 0.9, "post")
    return post.refine(fusion.inputs, fusion.groupings, state, log, step, parameters)
