"""Train some of the fused model's weights on the calibration samples: towards the parents' ensemble, or labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.progress import Progress
from ..core.registry import Param
from ..core.seeds import torch_generator
from ..core.types import State
from ..data import IGNORED
from ..fusing import HeadWeights, Inputs, OutputWeights, RunLog, forward_work
from ..fusing.sampling import augmented
from ..fusing.sampling import draw as drawn
from ..fusing.training import Outcome, Point, TrainingSettings, train, try_rates
from ..graph import Program, Trace
from ..tasks import Task

_WORK, _LEAST_STEPS, _MOST_STEPS = 3e12, 60, 700  # multiplications and additions of an automatic number of steps

_RATES = (2e-3, 5e-4, 1e-4)
_AUTO = 0.0  # a rate to be found
_CHECK_EVERY = 25

# Parameters that training steps have in common.
Steps = Annotated[int, Param("most training steps", ge=1, le=100_000, usual=(30, 1000))]
AutoSteps = Annotated[
    int | Literal["auto"],
    Param("most training steps; auto: as many as are cheap, 60 to 700", ge=1, le=100_000, usual=(30, 1000)),
]
Batch = Annotated[int, Param("samples a step", ge=1, le=4096)]
Rate = Annotated[float, Param("highest learning rate (Adam, one cycle)", ge=1e-7, le=1.0, usual=(1e-5, 0.03))]
AutoRate = Annotated[
    float | Literal["auto"],
    Param("highest learning rate (Adam, one cycle); auto: by held-out error", ge=1e-7, le=1.0, usual=(1e-5, 0.03)),
]
Temperature = Annotated[float, Param("softens the parents' predictions", ge=0.05, le=20.0)]
TeacherWeights = Annotated[HeadWeights, Param("how much the teacher trusts each parent for each class")]
Patience = Annotated[int, Param("checks on held-out samples without progress before it stops", ge=1, le=1000)]
Mix = Annotated[bool, Param("train on mixtures of pairs of calibration samples (mixup)")]
Shift = Annotated[
    float, Param("images: largest random shift as a part of the side; rotation and scale follow", ge=0.0, le=0.5)
]


def affordable(trace: Trace, steps: int | Literal["auto"], batch: int, teachers: int) -> int:
    """Number of steps; 'auto': what a fixed amount of work allows. teachers: models that run forward in each step."""
    if steps != "auto":
        return steps
    step = (3 + teachers) * batch * forward_work(trace)  # forward and backward are three forward passes
    return int(min(_MOST_STEPS, max(_LEAST_STEPS, _WORK / step)))


def schedule(steps: int, rate: float | Literal["auto"], patience: int) -> TrainingSettings:
    """Adam with a warm-up and cosine decay of the rate, for at most `steps` steps; rate 'auto': to be found."""
    found = _AUTO if rate == "auto" else rate
    return TrainingSettings(steps, _CHECK_EVERY, patience, found, scheduler="super_convergence")


def task_of(inputs: Inputs) -> Task:
    """What the outputs are for; FusionError where nothing tells."""
    if inputs.task is None:
        raise FusionError(
            "training needs to know what the outputs are for, and neither they nor the labels tell; name the task "
            "(--task), or leave the step out"
        )
    return inputs.task


class Teacher:
    """The parents' softened softmax ensemble, for any inputs; of values their weighted mean. FusionError where nothing
    tells what the outputs are."""

    def __init__(self, inputs: Inputs, head: OutputWeights, temperature: float) -> None:
        self._task = task_of(inputs)
        self._states, self._counted = inputs.states, self._task.seen
        self._program = Program(inputs.trace, None, [inputs.trace.output])
        self._head, self._temperature = head, temperature

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(batch, ..., classes) probabilities for inputs x, 0 where a position does not count; or values."""
        logits = [self._task.logits(self._program(state, x)[0]) for state in self._states]
        if not self._task.has_classes:
            return self._head.target(logits).to(logits[0])
        shares, seen = self._head.ensemble(logits, self._temperature), self._counted(x)
        return shares if seen is None else shares * seen[..., None]


@dataclass(frozen=True)
class Samples:
    """Inputs x (n, ...) and label shares y (n, classes), zeros where there are no labels; or values. Where every
    position has a class, y are those (n, ...)."""

    x: Tensor
    y: Tensor


def split_samples(inputs: Inputs) -> tuple[Samples, Samples]:
    """Calibration samples to train on and to judge by: a held-out fifth (all of them where there are too few)."""
    x, given, task = torch.cat(list(inputs.batches(1024))), inputs.data.y, task_of(inputs)
    y = torch.zeros(len(x), task.classes, device=x.device)
    if inputs.data.is_classified and given is not None:
        y[torch.arange(len(x)), given.to(x.device)] = 1.0
    elif given is not None:
        labels = task.labels(x, given.to(x.device))
        assert labels is not None  # they were given
        y = labels
    mask = inputs.held_out.to(x.device)
    if not bool(mask.any()):
        return Samples(x, y), Samples(x, y)
    return Samples(x[~mask], y[~mask]), Samples(x[mask], y[mask])


def distil_everything(
    inputs: Inputs,
    state: State,
    target: Callable[[Tensor, Tensor], Tensor],
    draw: tuple[int, bool, float],
    settings: TrainingSettings,
    log: RunLog,
    label: str,
) -> dict[str, Tensor]:
    """`distil` of all weights. target(x, y): the probabilities wanted for inputs x with label shares y. draw: samples a
    step, mixed or not, and shifted by how much (see `augmented`); where every position has a class they are neither,
    and a note says so."""
    pool, judge = split_samples(inputs)
    task = task_of(inputs)
    by_position = task.name in ("positions", "language")
    if by_position and (draw[1] or draw[2]) and inputs.data.x.dtype != torch.int64:
        log.note(f"{label}: samples with a class for every position are neither mixed nor shifted")

    def wanted(x: Tensor, y: Tensor) -> Tensor:
        return target(x, one_hot(y, task.classes) if by_position and y.dtype == torch.int64 else y)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if by_position:
            rows = drawn(len(pool.x), draw[0], generator)
            return pool.x[rows], wanted(pool.x[rows], pool.y[rows])
        x, y = augmented(pool.x, pool.y, *draw, generator)
        return x, target(x, y)

    names = [name for name in inputs.trace.parameters if state[name].is_floating_point()]
    student, judged = Program(inputs.trace, None, [inputs.trace.output]), (judge.x, wanted(judge.x, judge.y))
    return distil(inputs, state, names, student, sample, judged, settings, log, label)


def distil(
    inputs: Inputs,
    state: State,
    names: Sequence[str],
    student: Program,
    sample: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    judge: tuple[Tensor, Tensor],
    settings: TrainingSettings,
    log: RunLog,
    label: str,
) -> dict[str, Tensor]:
    """A new state in which the tensors `names` are trained until `student`'s logits match the targets.

    sample(generator) draws a batch of the student's inputs and the probabilities wanted for them; `judge` is the
    fixed held-out pair. The cross entropy on it is checked every `settings.check_every` steps; the best weights
    seen are returned, `state`'s own among them, so the step never makes that measure worse. Training stops after
    `settings.patience` checks without a better one. An automatic rate is the one that lowers the measure most in a
    tenth of the steps (a middle one where steps are few); if none lowers it, nothing is trained. Progress comes with
    every step, its detail with the step's loss and the last held-out one; the report has the curve. Raises
    FusionError if the outputs are not finite.
    """

    task = task_of(inputs)

    def error(outputs: Tensor, target: Tensor) -> Tensor:
        return _error(task, task.logits(outputs), target)

    @torch.no_grad()
    def judged(weights: State) -> float:
        return float(error(student({**state, **weights}, judge[0])[0], judge[1]))

    begin = {name: state[name].to(inputs.device) for name in names}
    before = judged(begin)
    if not math.isfinite(before):
        raise FusionError(f"{label}: the fused model's outputs are not finite; solve with a larger ridge")

    def run(how: TrainingSettings, progress: Progress, *, trial: bool = False) -> Outcome:
        generator = torch_generator(inputs.seed, "distillation", label, device=inputs.device.type)
        held_out = [before]

        def loss(weights: State) -> tuple[Tensor, int]:
            x, target = sample(generator)
            return error(student({**state, **weights}, x)[0], target), len(x)

        def on_step(step: int, value: float) -> None:
            if trial:
                progress.report(step / how.steps, f"{label}: trying the rate {how.rate:g}")
                return
            detail: dict[str, Any] = {"level": label, "index": 0, "levels": 1, "step": step, "steps": how.steps}
            # A loss that is not finite has no place in JSON.
            detail |= {k: v for k, v in (("loss", value), ("held_out", held_out[0])) if math.isfinite(v)}
            progress.report(step / how.steps, f"{label}: step {step} of {how.steps}", detail)

        def on_check(point: Point) -> None:
            held_out[0] = point.held_out

        return train(begin, loss, judged, how, best=before, on_step=on_step, on_check=on_check)

    tried: dict[float, float] = {}
    if settings.rate == _AUTO:
        short = replace(settings, steps=max(10, settings.steps // 10))
        if settings.steps >= _LEAST_STEPS:
            trials = log.progress.part(0.0, 0.2).each(_RATES, lambda rate: f"{label}: trying the rate {rate:g}")
            tried = try_rates(_RATES, lambda rate: run(replace(short, rate=rate), next(trials)[1], trial=True))
        settings = replace(settings, rate=min(tried, key=lambda r: tried[r]) if tried else _RATES[1])
    if tried and not min(tried.values()) < before:
        outcome = Outcome({}, before)  # what a tenth of the steps never lowers, all of them hardly will
    else:
        outcome = run(settings, log.progress.part(0.2 if tried else 0.0, 1.0))
    curve = [(point.step, point.loss, point.held_out) for point in outcome.curve]
    log.decide(label, {
        "rate": settings.rate,
        **({"rates_held_out": {f"{r:g}": loss for r, loss in tried.items()}} if tried else {}),
        "steps": outcome.step,
        "held_out_before": before,
        "held_out_after": outcome.best,
        "curve": [point for point in curve if all(map(math.isfinite, point))],
    })  # fmt: skip
    return {**state, **outcome.weights}


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(..., classes) float32; zeros where a label is IGNORED."""
    return torch.nn.functional.one_hot(labels.clamp_min(0), classes).float() * (labels != IGNORED)[..., None]


def _error(task: Task, logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy with shares of classes over the positions that count; mean squared error of values."""
    if not task.has_classes:
        return task.loss(logits, target)
    if logits.dim() == 2:
        return -(target * logits.log_softmax(-1)).sum(-1).mean()
    return -(target * logits.log_softmax(-1)).sum() / target.sum()
