"""Train some of the fused model's weights on the calibration samples: towards the parents' ensemble, or labels."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.progress import Progress
from ..core.registry import Param
from ..core.seeds import torch_generator
from ..core.types import State
from ..data import IGNORED
from ..fusing import EFFORTS, Effort, HeadWeights, Inputs, OutputWeights, RunLog, forward_work
from ..fusing.sampling import augmented
from ..fusing.sampling import draw as drawn
from ..fusing.training import Outcome, Point, TrainingSettings, train
from ..graph import Program, Trace
from ..tasks import Task
from .starts import AVERAGE, FUSED, Start, candidates, choose, verdict

_WORK, _LEAST_STEPS, _MOST_STEPS = 3e12, 60, 700  # of a quick run: multiplications and additions, and steps
_LEAST_BATCH, _MOST_BATCH = 64, 256

_RATES, _MIDDLE = (2e-3, 5e-4, 1e-4, 2e-5, 1e-5), 5e-4
_TRIAL_STEPS, _TRIAL_CHECKS = 6, 6
_AUTO = 0.0  # a rate to be found
_CHECK_EVERY = 25

# Parameters that training steps have in common.
Steps = Annotated[int, Param("most training steps", ge=1, le=100_000, usual=(30, 1000))]
AutoSteps = Annotated[
    int | Literal["auto"],
    Param("most training steps; auto: as many as the effort allows", ge=1, le=100_000, usual=(30, 1000)),
]
Batch = Annotated[int, Param("samples a step", ge=1, le=4096)]
AutoBatch = Annotated[
    int | Literal["auto"], Param("samples a step; auto: 256, fewer where a step is much work", ge=1, le=4096)
]
Averaging = Annotated[bool, Param("look at the running mean of the weights as well, and keep what is better")]
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


def affordable(
    trace: Trace, steps: int | Literal["auto"], batch: int | Literal["auto"], effort: Effort, teachers: int
) -> tuple[int, int]:
    """Number of steps and samples a step; 'auto': what the work of this effort allows. teachers: models that run
    forward in each step."""
    factor = EFFORTS[effort]
    work, most = factor * _WORK, factor * _MOST_STEPS
    sample = (3 + teachers) * forward_work(trace)  # forward and backward are three forward passes
    if batch == "auto":  # many small steps before few large ones
        batch = int(min(_MOST_BATCH, max(_LEAST_BATCH, work / ((most if steps == "auto" else steps) * sample))))
    if steps == "auto":
        steps = int(min(most, max(factor * _LEAST_STEPS, work / (batch * sample))))
    return steps, batch


def schedule(steps: int, rate: float | Literal["auto"], patience: int, *, average: bool = False) -> TrainingSettings:
    """Adam with a warm-up and cosine decay of the rate, for at most `steps` steps; rate 'auto': to be found."""
    found = _AUTO if rate == "auto" else rate
    return TrainingSettings(steps, _CHECK_EVERY, patience, found, scheduler="super_convergence", average=average)


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
    start: Start = "fused",
    *,
    race: bool = False,
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
    lesson = Lesson(inputs, names, student, sample, judged, label)
    return distil(lesson, state, settings, log, start, race=race)


@dataclass(frozen=True)
class Lesson:
    """What is trained, and towards what. names: the tensors that are trained so that `student`'s logits match the
    targets. sample(generator) draws a batch of the student's inputs and the probabilities wanted for them; `judge` is
    the fixed held-out pair. label: what progress, notes and report call it."""

    inputs: Inputs
    names: Sequence[str]
    student: Program
    sample: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    judge: tuple[Tensor, Tensor]
    label: str

    @cached_property
    def task(self) -> Task:
        return task_of(self.inputs)

    def error(self, outputs: Tensor, target: Tensor) -> Tensor:
        return _error(self.task, self.task.logits(outputs), target)

    @torch.no_grad()
    def held_out(self, state: State) -> float:
        """The loss of a state on the held-out pair."""
        return float(self.error(self.student(state, self.judge[0])[0], self.judge[1]))

    @torch.no_grad()
    def held_out_losses(self, state: State) -> Tensor:
        """(samples,) the same, sample by sample."""
        outputs, target = self.student(state, self.judge[0])[0], self.judge[1]
        return torch.stack([self.error(outputs[i : i + 1], target[i : i + 1]) for i in range(len(target))])

    def train(
        self, state: State, before: float, how: TrainingSettings, progress: Progress, *, trial: bool = False
    ) -> Outcome:
        """Weights better than `before`, the held-out loss of `state`."""
        device, label = self.inputs.device, self.label
        generator = torch_generator(self.inputs.seed, "distillation", label, device=device.type)
        held_out, began = [before], time.perf_counter()

        def loss(weights: State) -> tuple[Tensor, int]:
            x, target = self.sample(generator)
            return self.error(self.student({**state, **weights}, x)[0], target), len(x)

        def on_step(step: int, value: float) -> None:
            if trial:
                progress.report(step / how.steps, f"{label}: trying the rate {how.rate:g}")
                return
            detail: dict[str, Any] = {"level": label, "index": 0, "levels": 1, "step": step, "steps": how.steps}
            # A loss that is not finite has no place in JSON.
            detail |= {k: v for k, v in (("loss", value), ("held_out", held_out[0])) if math.isfinite(v)}
            left = (time.perf_counter() - began) / step * (how.steps - step)
            progress.report(step / how.steps, f"{label}: step {step} of {how.steps}{_left(left)}", detail)

        def on_check(point: Point) -> None:
            held_out[0] = point.held_out

        begin = {name: state[name].to(device) for name in self.names}
        judged: Callable[[State], float] = lambda weights: self.held_out({**state, **weights})  # noqa: E731
        return train(begin, loss, judged, how, best=before, on_step=on_step, on_check=on_check)


def distil(
    lesson: Lesson,
    state: State,
    settings: TrainingSettings,
    log: RunLog,
    start: Start = "fused",
    *,
    race: bool = False,
) -> dict[str, Tensor]:
    """A new state: `state`, or what else `start` names (`starts.candidates`), trained.

    The held-out loss is checked every `settings.check_every` steps; the best weights seen are returned, those of all
    starts among them, so the step never makes that measure worse. Training stops after `settings.patience` checks
    without a better one. An automatic rate, and an automatic start, are those whose held-out loss, as it runs in a
    tenth of the steps, leads lowest (`trend`); without an automatic rate, or where steps are few, training goes on from
    the start whose loss is lowest, at the rate given (a middle one of an automatic rate). With `race` all starts that
    training helps run to the end, and the lowest loss there decides. Progress comes with every step, its detail with
    the step's loss and the last held-out one; the report has the curve, and the notes what was started from and whether
    held-out samples can tell the result from the best parent. Raises FusionError if the outputs of all starts are not
    finite.
    """
    known = candidates(lesson.inputs, state, start)
    before = {name: loss for name, other in known.items() if math.isfinite(loss := lesson.held_out(other))}
    if not before or (start == "fused" and FUSED not in before):
        raise FusionError(f"{lesson.label}: the fused model's outputs are not finite; solve with a larger ridge")
    contenders = choose(before, start, lesson, log)
    searches = settings.rate == _AUTO and settings.steps >= _LEAST_STEPS
    tried = _trials(lesson, contenders, known, before, settings, log) if searches else {}
    rates, leads = dict.fromkeys(contenders, settings.rate or _MIDDLE), dict(before)
    for name, rate in sorted(tried, key=lambda key: tried[key].leads_to, reverse=True):
        rates[name], leads[name] = rate, tried[name, rate].leads_to
    runs = [name for name in sorted(contenders, key=leads.__getitem__) if math.isfinite(leads[name])]
    runs = runs if race else runs[:1]
    first, outcome = contenders[0], Outcome({}, before[contenders[0]])
    for name, part in log.progress.part(0.3 if tried else 0.0, 1.0).each(runs):
        trained = lesson.train(known[name], before[name], replace(settings, rate=rates[name]), part)
        if trained.best < outcome.best:
            first, outcome = name, trained
        elif name == first and not outcome.weights:
            outcome = replace(outcome, curve=trained.curve)
    curve = [(point.step, point.loss, point.held_out) for point in outcome.curve]
    log.decide(lesson.label, {
        "rate": rates[first],
        **({"rates_held_out": _by_rate(tried, contenders[0])} if tried else {}),
        **({"start": first, "starts_held_out": before} if start != "fused" else {}),
        "steps": outcome.step,
        "held_out_before": before[first],
        "held_out_after": outcome.best,
        "curve": [point for point in curve if all(map(math.isfinite, point))],
    })  # fmt: skip
    result = {**known[first], **outcome.weights}
    if start == "auto" and first not in (FUSED, AVERAGE):
        what = f"the ensemble distilled into {first}" if outcome.weights else f"{first} as it is"
        if tried and not race and FUSED in contenders:
            what += f" (a tenth of the steps leads to {leads[first]:.3f}, of the fused network to {leads[FUSED]:.3f})"
        log.note(
            f"{lesson.label}: fusing did not pay here: held-out samples prefer {what}, and that is the result; "
            "its neurons are that parent's, not those of the groups"
        )
    if start != "fused":
        for line in verdict(lesson, known, before, first, outcome.best, result):
            log.note(line)
    return result


@dataclass(frozen=True)
class Trial:
    """A short run of one start at one rate. leads_to: the held-out loss that it leads to, see `trend`."""

    curve: tuple[float, ...]
    leads_to: float


def _by_rate(tried: Mapping[tuple[str, float], Trial], start: str) -> dict[str, float]:
    """What the trials of one start lead to, by rate; without those that lead nowhere."""
    found = {f"{rate:g}": trial.leads_to for (name, rate), trial in tried.items() if name == start}
    return {rate: loss for rate, loss in found.items() if math.isfinite(loss)}


def trend(curve: Sequence[float]) -> float:
    """Where held-out losses lead: at the end of the line through the later half of them, and half of that again on."""
    later = curve[len(curve) // 2 :]
    if not all(map(math.isfinite, later)):
        return math.inf
    n, mean = len(later), sum(later) / len(later)
    steps = [i - (n - 1) / 2 for i in range(n)]
    slope = sum(i * value for i, value in zip(steps, later, strict=True)) / max(1e-12, sum(i * i for i in steps))
    return mean + slope * (steps[-1] + n / 2)


def _trials(
    lesson: Lesson, contenders: Sequence[str], known: Mapping[str, State], before: Mapping[str, float],
    settings: TrainingSettings, log: RunLog,
) -> dict[tuple[str, float], Trial]:  # fmt: skip
    """Short runs by start and rate. Of the first contender: from a middle rate on to lower or higher ones, as long as
    they lead lower; of the others: at the rate that is best for it."""
    steps = max(_TRIAL_STEPS, settings.steps // 10)
    short = replace(settings, steps=steps, check_every=max(1, steps // _TRIAL_CHECKS), patience=steps)
    found: dict[tuple[str, float], Trial] = {}
    most = len(_RATES) + len(contenders) - 1

    def lead(name: str, rate: float) -> float:
        if (name, rate) not in found:
            part = log.progress.part(0.3 * len(found) / most, 0.3 * (len(found) + 1) / most)
            outcome = lesson.train(known[name], before[name], replace(short, rate=rate), part, trial=True)
            curve = (before[name], *(point.held_out for point in outcome.curve))
            found[name, rate] = Trial(curve, math.inf if outcome.diverged else trend(curve))
        return found[name, rate].leads_to

    first, *others = contenders
    at = _RATES.index(_MIDDLE)
    way = 1 if lead(first, _RATES[at + 1]) < lead(first, _RATES[at]) else -1
    while 0 <= at + way < len(_RATES) and lead(first, _RATES[at + way]) < lead(first, _RATES[at]):
        at += way
    for name in others:
        lead(name, _RATES[at])
    return found


def _left(seconds: float) -> str:
    """', about 40 s left'; '' where that is soon."""
    if seconds < 10:
        return ""
    return f", about {seconds:.0f} s left" if seconds < 120 else f", about {seconds / 60:.0f} min left"


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
