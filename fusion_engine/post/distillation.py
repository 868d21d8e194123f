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
from ..fusing import HeadWeights, Inputs, OutputWeights, RunLog, forward_work
from ..fusing.sampling import augmented
from ..fusing.training import Outcome, Point, TrainingSettings, train, try_rates
from ..graph import Program, Trace
from ..importance.attribution import has_classes

_WORK, _LEAST_STEPS, _MOST_STEPS = 3e12, 60, 700  # multiplications and additions of an automatic number of steps

_RATES = (2e-3, 5e-4, 1e-4)
_AUTO = 0.0  # a rate to be found
_CHECK_EVERY = 25

# Parameters that training steps have in common.
Steps = Annotated[int, Param("most training steps", ge=1, le=100_000)]
AutoSteps = Annotated[
    int | Literal["auto"], Param("most training steps; auto: as many as are cheap, 60 to 700", ge=1, le=100_000)
]
Batch = Annotated[int, Param("samples a step", ge=1, le=4096)]
Rate = Annotated[float, Param("highest learning rate (Adam, one cycle)", ge=1e-7, le=1.0)]
AutoRate = Annotated[
    float | Literal["auto"], Param("highest learning rate (Adam, one cycle); auto: by held-out error", ge=1e-7, le=1.0)
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


class Teacher:
    """The parents' softened softmax ensemble, for any inputs. FusionError for a model without logits to soften."""

    def __init__(self, inputs: Inputs, head: OutputWeights, temperature: float) -> None:
        if not has_classes(inputs.trace):
            raise FusionError(
                "distillation needs a model whose output is logits (samples, classes), and this one's is not; "
                "leave the step out"
            )
        self._states = inputs.states
        self._program = Program(inputs.trace, None, [inputs.trace.output])
        self._head, self._temperature = head, temperature

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """(batch, classes) probabilities for inputs x."""
        return self._head.ensemble([self._program(state, x)[0] for state in self._states], self._temperature)


@dataclass(frozen=True)
class Samples:
    """Inputs x (n, ...) float32 and label shares y (n, classes); zeros where there are no labels."""

    x: Tensor
    y: Tensor


def split_samples(inputs: Inputs, classes: int) -> tuple[Samples, Samples]:
    """Calibration samples to train on and to judge by: a held-out fifth (all of them where there are too few)."""
    if inputs.data.y is not None and inputs.data.classes > classes:
        raise FusionError(f"the model has {classes} outputs, and the labels {inputs.data.classes} classes to learn")
    x = torch.cat(list(inputs.batches(1024)))
    y = x.new_zeros(len(x), classes)
    if inputs.data.y is not None:
        y[torch.arange(len(x)), inputs.data.y.to(x.device)] = 1.0
    mask = inputs.held_out.to(x.device)
    if not bool(mask.any()):
        return Samples(x, y), Samples(x, y)
    return Samples(x[~mask], y[~mask]), Samples(x[mask], y[mask])


def distil_everything(
    inputs: Inputs,
    state: State,
    classes: int,
    target: Callable[[Tensor, Tensor], Tensor],
    draw: tuple[int, bool, float],
    settings: TrainingSettings,
    log: RunLog,
    label: str,
) -> dict[str, Tensor]:
    """`distil` of all weights. target(x, y): the probabilities wanted for inputs x with label shares y. draw: samples a
    step, mixed or not, and shifted by how much (see `augmented`)."""
    pool, judge = split_samples(inputs, classes)

    def sample(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = augmented(pool.x, pool.y, *draw, generator)
        return x, target(x, y)

    names = [name for name in inputs.trace.parameters if state[name].is_floating_point()]
    student, judged = Program(inputs.trace, None, [inputs.trace.output]), (judge.x, target(judge.x, judge.y))
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

    @torch.no_grad()
    def judged(weights: State) -> float:
        return float(_cross_entropy(student({**state, **weights}, judge[0])[0], judge[1]))

    begin = {name: state[name].to(inputs.device) for name in names}
    before = judged(begin)
    if not math.isfinite(before):
        raise FusionError(f"{label}: the fused model's outputs are not finite; solve with a larger ridge")

    def run(how: TrainingSettings, progress: Progress, *, trial: bool = False) -> Outcome:
        generator = torch_generator(inputs.seed, "distillation", label, device=inputs.device.type)
        held_out = [before]

        def loss(weights: State) -> tuple[Tensor, int]:
            x, target = sample(generator)
            return _cross_entropy(student({**state, **weights}, x)[0], target), len(x)

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


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * logits.log_softmax(-1)).sum(-1).mean()
