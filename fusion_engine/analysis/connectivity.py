"""Linear mode connectivity: loss and accuracy along the straight line between two networks, whole and by level.

A path is (1 - a) A + a B for a from 0 to 1. Its barrier is max_a loss(a) - ((1 - a) loss(0) + a loss(1)) (Frankle et
al. 2020; Entezari et al. 2022): 0 where the path never rises above the line between its ends. The same of the error
rate is the error barrier.

Paths of a single level, or of the levels up to one, leave the other levels as A has them (Adilova et al. 2024,
"Layer-wise linear mode connectivity"). They end in a network stitched together of A and B, which may be poor though
the path to it has no barrier. So what they tell is what averaging costs: loss(1/2) - (loss(A) + loss(B)) / 2, and the
same of the error rate. For all levels together it is that of the whole path's middle; it is negative where averaging
helps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..context import FusionContext
from ..core.errors import DataError
from ..core.recipe import Step
from ..core.types import Progress, ProgressCallback, State, no_progress
from ..data import Dataset
from ..graph import Program, Trace
from ..post.norm_recalibration import norm_recalibration
from ..post.norms import find_batch_norms
from ..stats.batches import fitting_batch
from .alignment import align

__all__ = ["Connectivity", "LevelPaths", "Path", "Paths", "connectivity", "interpolate"]

_LEVEL_POINTS = 3  # of a level's paths: its ends and its middle
_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Path:
    """Mean cross entropy (nats) and accuracy at each point of a path; alphas rise from 0 to 1."""

    alphas: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """How far the loss rises above the line between the ends, in nats; at least 0."""
        return _barrier(self.alphas, self.loss)

    @property
    def error_barrier(self) -> float:
        """The same of the error rate, in [0, 1]."""
        return _barrier(self.alphas, [1 - accuracy for accuracy in self.accuracy])

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {
            "alphas": list(self.alphas), "loss": list(self.loss), "accuracy": list(self.accuracy),
            "barrier": self.barrier, "error_barrier": self.error_barrier,
        }


@dataclass(frozen=True)
class LevelPaths:
    """Paths that move one level: `single`; or it and all levels before it: `cumulative`. Ends and middle only."""

    index: int
    name: str
    single: Path
    cumulative: Path


@dataclass(frozen=True)
class Paths:
    """The whole path between two networks, and those of its levels."""

    whole: Path
    levels: tuple[LevelPaths, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        levels = []
        for level in self.levels:
            entry: dict[str, Any] = {"index": level.index, "name": level.name}
            for kind, path in (("single", level.single), ("cumulative", level.cumulative)):
                loss, error = self.averaging(path)
                entry[kind] = {**path.as_json(), "averaging": loss, "error_averaging": error}
            levels.append(entry)
        return {**self.whole.as_json(), "levels": levels}

    def averaging(self, path: Path) -> tuple[float, float]:
        """How far a level path's middle is above the mean of the two networks, in loss and in error rate."""
        middle = path.alphas.index(0.5)
        loss = path.loss[middle] - (self.whole.loss[0] + self.whole.loss[-1]) / 2
        return loss, (self.whole.accuracy[0] + self.whole.accuracy[-1]) / 2 - path.accuracy[middle]


@dataclass(frozen=True)
class Connectivity:
    """Paths between two networks as they are, and after the second's neurons were put in the first's order.

    recalibrated: whether batch norms' running statistics were estimated again at every point.
    """

    as_is: Paths
    aligned: Paths
    recalibrated: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {
            "as_is": self.as_is.as_json(), "aligned": self.aligned.as_json(), "recalibrated": self.recalibrated
        }


def connectivity(
    trace: Trace,
    first: State,
    second: State,
    data: Dataset,
    *,
    method: str = "balanced",
    points: int = 11,
    recalibrate: bool = True,
    seed: int = 0,
    on_progress: ProgressCallback = no_progress,
) -> Connectivity:
    """Linear mode connectivity between two networks of one trace and width, on labelled data.

    method: the pairing grouping that aligns the second with the first. points: of the whole path, ends
    included. recalibrate: estimate running statistics again at every point, ends included, from the
    samples of `data` (Jordan et al. 2023): those of an average are not the average of the parents', and without it
    that mistake is most of the barrier. Models without batch norms are not affected. Integer tensors (counters) are
    the first network's. Raises DataError without labels.
    """
    if data.y is None:
        raise DataError(f"{data.name}: there are no labels, and losses along a path need them (add an array y)")
    context = FusionContext(trace, (first, second), data, ({}, {}), Step(method="identity"), seed=seed)
    renew = recalibrate and bool(find_batch_norms(trace))
    measure = _Measure(context, renew)
    count = 2 * (points + 2 * (_LEVEL_POINTS - 1) * len(trace.levels))
    report = _Steps(on_progress, count)
    report("aligning neurons")
    aligned = align(trace, first, second, data, method, seed=seed)
    found = []
    for other, what in ((second, "path between the networks"), (aligned, "path after alignment")):
        report.message = what
        found.append(_paths(trace, first, other, measure, points, report))
    return Connectivity(found[0], found[1], renew)


def interpolate(
    first: State, second: State, alpha: float, names: Collection[str] | None = None
) -> dict[str, Tensor]:
    """(1 - alpha) first + alpha second, in float64 and then of the first's types. Integer tensors, and tensors not in
    `names` (None: all), are the first's."""
    return {
        name: ((1 - alpha) * tensor.double() + alpha * second[name].double()).to(tensor.dtype)
        if tensor.is_floating_point() and (names is None or name in names) else tensor
        for name, tensor in first.items()
    }


def _paths(
    trace: Trace,
    first: State,
    second: State,
    measure: Callable[[State], tuple[float, float]],
    points: int,
    report: Callable[[], None],
) -> Paths:
    start = measure(first)

    def path(count: int, names: Collection[str] | None = None) -> Path:
        alphas = [float(a) for a in np.linspace(0.0, 1.0, count)]
        measured = [start]
        for alpha in alphas[1:]:
            report()
            measured.append(measure(interpolate(first, second, alpha, names)))
        losses, accuracies = zip(*measured, strict=True)
        return Path(tuple(alphas), losses, accuracies)

    levels: list[LevelPaths] = []
    before: set[str] = set()
    for level in trace.levels:
        own = {alias for name in level.tensors for alias in trace.aliases.get(name, (name,))}
        before |= own
        single = path(_LEVEL_POINTS, own)
        cumulative = path(_LEVEL_POINTS, before) if levels else single
        levels.append(LevelPaths(level.index, level.name, single, cumulative))
    return Paths(path(points), tuple(levels))


class _Measure:
    """Loss and accuracy of a state on the data."""

    def __init__(self, context: FusionContext, renew: bool) -> None:
        self._context, self._renew = context, renew
        self._program = Program(context.trace, None, [context.trace.output])
        data, size = context.data, fitting_batch(context.trace)
        self._batches: Callable[[], Iterable[tuple[Tensor, Tensor | None]]] = lambda: data.batches(size)
        if 4 * data.x.numel() <= _KEPT_BYTES:
            kept = list(data.batches(size))  # normalised once for all points
            self._batches = lambda: kept

    def __call__(self, state: State) -> tuple[float, float]:
        if self._renew:
            state = norm_recalibration(replace(self._context, notes=[]), state)
        loss, hits, count = 0.0, 0, len(self._context.data)
        with torch.inference_mode():
            for x, y in self._batches():
                assert y is not None  # checked at the start
                (logits,) = self._program(state, x)
                loss += float(torch.nn.functional.cross_entropy(logits.double(), y, reduction="sum"))
                hits += int((logits.argmax(1) == y).sum())
        return loss / count, hits / count


class _Steps:
    """Counts measured points into a fraction."""

    def __init__(self, on_progress: ProgressCallback, count: int) -> None:
        self._on_progress, self._count, self._done = on_progress, count, 0
        self.message = ""

    def __call__(self, message: str | None = None) -> None:
        self._on_progress(Progress("connectivity", min(1.0, self._done / self._count), message or self.message))
        self._done += 1


def _barrier(alphas: Sequence[float], values: Sequence[float]) -> float:
    a, v = np.asarray(alphas), np.asarray(values)
    return max(0.0, float((v - ((1 - a) * v[0] + a * v[-1])).max()))
