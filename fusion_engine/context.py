"""What every solver and post-processing step is given: the traced parents, the calibration data, and the means
to report progress, take time and note what was decided."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .core.recipe import Step
from .core.types import Grouping, State
from .data import Dataset, held_out
from .graph import Trace
from .stats import SharedStatistics

__all__ = ["FusionContext", "ProgressReport", "Stopwatch", "no_report"]


class ProgressReport(Protocol):
    """How steps report: the stage, the fraction of the stage that is done, a line to show, JSON-able details."""

    def __call__(
        self, stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None
    ) -> None: ...


def no_report(stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
    """Reports nothing."""


class Stopwatch:
    """Wall-clock seconds by stage. Stages may nest; the inner stage's time is not counted to the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside to `name`."""
        self._lap()
        self._stack.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def _lap(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True)
class FusionContext:
    """One fusion under way.

    trace         the parents' common graph
    states        k state dicts, one a parent, never modified
    data          calibration samples, in canonical order
    importance    per parent: space name or 'output' -> (n,) scores
    grouping      the recipe's grouping step, defaults filled in
    class_counts  (k, classes) training samples by class, or None
    progress      called as progress(stage, fraction of the stage, message, detail); may raise Cancelled. detail:
                  JSON-able facts for who draws them (losses of a level)
    notes         facts for the report, appended by the steps (fallbacks)
    decisions     what the steps chose automatically and by what measure, for the report
    groupings     of every space; known after the solve, for the steps that follow it
    sizes         fused neurons by space; spaces that are missing keep the traced size
    base          state of the model that the parents were trained from, for recipes that need one
    reserve       whether the held-out samples are kept out of every fit: steps that follow are judged by them
    shared        what other fusions of the same parents have computed already
    """

    trace: Trace
    states: tuple[State, ...]
    data: Dataset
    importance: tuple[Mapping[str, Tensor], ...]
    grouping: Step
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    class_counts: np.ndarray | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)
    progress: ProgressReport = no_report
    notes: list[str] = field(default_factory=list)
    decisions: dict[str, Any] = field(default_factory=dict)
    groupings: Mapping[str, Grouping] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    reserve: bool = False
    base: State | None = None
    shared: SharedStatistics = field(default_factory=SharedStatistics)

    @property
    def parents(self) -> int:
        """Number of parents k."""
        return len(self.states)

    @property
    def features(self) -> str:
        """Whether the grouping sees neurons before ('pre') or behind ('post') their activation function."""
        return str(self.grouping.parameters.get("features", "pre"))

    @cached_property
    def held_out(self) -> Tensor:
        """(samples,) bool: the fifth of the calibration samples, balanced over classes, that judges choices."""
        if len(self.data) < 2:
            return torch.zeros(len(self.data), dtype=torch.bool)
        return held_out(self.data, 0.2, self.seed)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Normalised calibration inputs in batches on the device."""
        for x, _ in self.data.batches(size):
            yield x.to(self.device)
