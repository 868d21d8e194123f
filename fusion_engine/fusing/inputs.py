"""What every solver and refining step works on: the traced parents, their importances and the calibration samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.types import State
from ..data import Dataset, held_out
from ..graph import Trace, output_shape
from ..tasks import Task, find_task
from .folding import fold_norms


@dataclass(frozen=True)
class Resume:
    """A fusion that goes on from a finished one: levels before `level` keep the weights they have there.

    state: as the solver left it, before refining. decisions: of that run's report, for what a level takes over from the
    level before it.
    """

    level: int
    state: State
    decisions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """One fusion's givens. Nothing of it is ever modified.

    trace         the parents' common graph
    states        k state dicts, one a parent
    data          calibration samples, in canonical order
    importance    per parent: space name or 'output' -> (n,) scores
    sizes         fused neurons by space; spaces that are missing keep the traced size
    class_counts  (k, classes) training samples by class, or None
    base          state of the model that the parents were trained from, for recipes that need one
    reserve       whether the held-out samples are kept out of every fit: steps that follow are judged by them
    resume        the finished fusion whose first levels are kept, or None
    """

    trace: Trace
    states: tuple[State, ...]
    data: Dataset
    importance: tuple[Mapping[str, Tensor], ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    class_counts: np.ndarray | None = None
    base: State | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    reserve: bool = False
    resume: Resume | None = None

    @property
    def count(self) -> int:
        """Number of parents k."""
        return len(self.states)

    @cached_property
    def held_out(self) -> Tensor:
        """(samples,) bool: the fifth of the calibration samples, balanced over classes, that judges choices."""
        if len(self.data) < 2:
            return torch.zeros(len(self.data), dtype=torch.bool)
        return held_out(self.data, 0.2, self.seed)

    @cached_property
    def task(self) -> Task | None:
        """What the outputs are for; None where neither labels nor outputs tell."""
        return find_task(self.data, output_shape(self.trace))

    @cached_property
    def counted(self) -> Tensor | None:
        """(samples, T) bool: the positions that count by the samples' mask; None where all do."""
        return self.data.counted(self.data.x)

    @cached_property
    def folded(self) -> list[dict[str, Tensor]]:
        """The parents' states with every batch norm behind a layer folded into it: the same functions."""
        return [fold_norms(state, self.trace.layers.values()) for state in self.states]

    @property
    def kept_levels(self) -> int:
        """How many levels, from the first, keep the weights of the fusion that this one goes on from."""
        return 0 if self.resume is None else self.resume.level

    @cached_property
    def kept_tensors(self) -> dict[str, Tensor]:
        """The weights of the kept levels, under all their names."""
        if self.resume is None:
            return {}
        names = {name for level in self.trace.levels[: self.kept_levels] for name in level.tensors}
        every = {alias for name in names for alias in self.trace.aliases.get(name, (name,))}
        return {name: self.resume.state[name].to(self.device) for name in every}

    def batches(self, size: int) -> Iterator[Tensor]:
        """Normalised calibration inputs in batches on the device."""
        for x, _ in self.data.batches(size):
            yield x.to(self.device)
