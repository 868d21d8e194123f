"""Linear mode connectivity: loss and accuracy along the straight line between two networks, whole and by level.

A path is (1 - a) A + a B for a from 0 to 1. Its barrier is max_a loss(a) - ((1 - a) loss(0) + a loss(1)) (Entezari et
al. 2022): 0 where the path never rises above the line between its ends. (Frankle et al. 2020 subtract the mean of the
ends, which is the same where both lose alike.) The same of the error rate is the error barrier.

Barriers of a level are of averaging it: with a = 1/2 in one level, or in all levels up to one, and the others as A has
them, loss - (loss(A) + loss(B)) / 2, and the same of the error rate (after Adilova et al. 2024, "Layer-wise linear mode
connectivity"). They are negative where averaging helps. With all levels it is the middle of the whole path.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import DataError
from ..core.progress import Progress
from ..core.seeds import numpy_generator
from ..core.types import State
from ..data import Dataset
from ..fusing import Inputs, RunLog
from ..graph import Program, Trace, output_shape
from ..post.norm_recalibration import norm_recalibration
from ..post.norms import find_batch_norms
from ..stats import fitting_batch
from ..tasks import required_task
from .alignment import align

_RENEWED_FROM = 256  # samples
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
        barriers = {"barrier": self.barrier, "error_barrier": self.error_barrier}
        return {**{name: list(values) for name, values in vars(self).items()}, **barriers}


@dataclass(frozen=True)
class Averaged:
    """A network some of whose levels are half-way between two others; barriers against the mean of these."""

    loss: float
    accuracy: float
    barrier: float
    error_barrier: float


@dataclass(frozen=True)
class LevelBarriers:
    """With one level averaged: `single`; with it and all levels before it: `cumulative`."""

    index: int
    name: str
    single: Averaged
    cumulative: Averaged


@dataclass(frozen=True)
class Paths:
    """The whole path between two networks, and the barriers of its levels."""

    whole: Path
    levels: tuple[LevelBarriers, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        return {**self.whole.as_json(), "levels": [asdict(level) for level in self.levels]}


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
        return {"as_is": self.as_is.as_json(), "aligned": self.aligned.as_json(), "recalibrated": self.recalibrated}


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
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Connectivity:
    """Linear mode connectivity between two networks of one trace and width, on labelled data.

    method: the pairing grouping that aligns the second with the first. points: of the whole path, ends included.
    recalibrate: estimate running statistics again at every point, ends included, from at most 256 of the samples,
    drawn with `seed` (Jordan et al. 2023): those of an average are not the average of the parents', and without it that
    mistake is most of the barrier. Models without batch norms are not affected. Integer tensors (counters) are the
    first network's. Raises DataError without labels.
    """
    if data.y is None:
        raise DataError(f"{data.name}: there are no labels, and losses along a path need them (add an array y)")
    inputs = Inputs(trace, (first, second), data, ({}, {}), seed=seed, device=torch.device(device))
    renew = recalibrate and bool(find_batch_norms(trace))
    measure, progress = _Measure(inputs, renew), (progress or Progress()).part(0.0, 1.0, "connectivity")
    progress.report(0.0, "aligning neurons")
    aligned = align(trace, first, second, data, method, seed=seed, device=device)
    as_is = progress.part(0.0, 0.5).saying("path between the networks")
    after = progress.part(0.5, 1.0).saying("path after alignment")
    before = _paths(trace, first, second, measure, points, as_is)
    return Connectivity(before, _paths(trace, first, aligned, measure, points, after), renew)


def interpolate(first: State, second: State, alpha: float, names: Collection[str] | None = None) -> dict[str, Tensor]:
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
    progress: Progress,
) -> Paths:
    turns = progress.each(range(points + 2 * len(trace.levels)))
    alphas = [float(a) for a in np.linspace(0.0, 1.0, points)]
    measured = []
    for alpha in alphas:
        next(turns)
        measured.append(measure(interpolate(first, second, alpha)))
    losses, accuracies = zip(*measured, strict=True)
    whole = Path(tuple(alphas), losses, accuracies)

    def averaged(names: Collection[str]) -> Averaged:
        next(turns)
        loss, accuracy = measure(interpolate(first, second, 0.5, names))
        barrier, error = loss - (losses[0] + losses[-1]) / 2, (accuracies[0] + accuracies[-1]) / 2 - accuracy
        return Averaged(loss, accuracy, barrier, error)

    levels: list[LevelBarriers] = []
    before: set[str] = set()
    for level in trace.levels:
        own = {alias for name in level.tensors for alias in trace.aliases.get(name, (name,))}
        before |= own
        single = averaged(own)
        levels.append(LevelBarriers(level.index, level.name, single, averaged(before) if levels else single))
    return Paths(whole, tuple(levels))


class _Measure:
    """Loss and accuracy of a state on the data."""

    def __init__(self, inputs: Inputs, renew: bool) -> None:
        self._inputs, self._renew = inputs, renew
        self._sampled = replace(inputs, data=_drawn(inputs.data, inputs.seed))
        self._program = Program(inputs.trace, None, [inputs.trace.output])
        self._task = required_task(inputs.data, output_shape(inputs.trace))
        if not self._task.has_classes:
            raise DataError(f"{inputs.data.name}: connectivity is about accuracy, and these labels are values")
        self._kept: list[tuple[Tensor, Tensor]] | None = None
        if 4 * inputs.data.x.numel() <= _KEPT_BYTES:
            self._kept = list(self._batches())  # normalised once for all points

    def __call__(self, state: State) -> tuple[float, float]:
        state = {name: tensor.to(self._inputs.device) for name, tensor in state.items()}
        if self._renew:
            state = norm_recalibration(self._sampled, {}, state, RunLog())
        loss, hits, count = 0.0, 0, 0
        with torch.inference_mode():
            for x, y in self._kept or self._batches():
                logits, wanted = self._task.rows(self._program(state, x)[0].cpu(), x.cpu(), y)
                assert wanted is not None  # checked at the start
                loss += float(torch.nn.functional.cross_entropy(logits.double(), wanted, reduction="sum"))
                hits += int((logits.argmax(1) == wanted).sum())
                count += len(wanted)
        return loss / count, hits / count

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs on the device, labels."""
        for x, y in self._inputs.data.batches(fitting_batch(self._inputs.trace)):
            assert y is not None  # checked at the start
            yield x.to(self._inputs.device), y


def _drawn(data: Dataset, seed: int) -> Dataset:
    """The samples that running statistics are estimated from."""
    if len(data) <= _RENEWED_FROM:
        return data
    chosen = numpy_generator(seed, "running statistics").choice(len(data), _RENEWED_FROM, replace=False)
    return data.subset(np.sort(chosen).tolist())


def _barrier(alphas: Sequence[float], values: Sequence[float]) -> float:
    a, v = np.asarray(alphas), np.asarray(values)
    return max(0.0, float((v - ((1 - a) * v[0] + a * v[-1])).max()))
