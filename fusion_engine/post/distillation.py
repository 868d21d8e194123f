"""Train some of the fused model's weights on the calibration samples: towards the parents' ensemble, or labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.errors import FusionError
from ..core.registry import Param
from ..core.seeds import torch_generator
from ..core.types import State
from ..graph import Program
from ..solvers.head import Head, HeadWeights
from ..solvers.work import forward_work

__all__ = ["Samples", "Settings", "Teacher", "affordable", "distil", "split_samples", "trainable"]

_WORK, _LEAST_STEPS, _MOST_STEPS = 3e12, 60, 700  # multiplications and additions of an automatic number of steps

_RATES = (2e-3, 5e-4, 1e-4)
_WARM_UP = 0.101  # share of the steps; torch's schedule divides by zero where a tenth of them is exactly one

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


@dataclass(frozen=True)
class Settings:
    """How to train: Adam with a warm-up and cosine decay of the rate, for at most `steps` steps."""

    steps: int
    batch: int
    rate: float | Literal["auto"]
    patience: int
    check_every: int = 25


def affordable(context: FusionContext, steps: int | Literal["auto"], batch: int, teachers: int) -> int:
    """Number of steps; 'auto': what a fixed amount of work allows. teachers: models that run forward in each step."""
    if steps != "auto":
        return steps
    step = (3 + teachers) * batch * forward_work(context)  # forward and backward are three forward passes
    return int(min(_MOST_STEPS, max(_LEAST_STEPS, _WORK / step)))


class Teacher:
    """The parents' softened softmax ensemble, for any inputs."""

    def __init__(self, context: FusionContext, head: Head, temperature: float) -> None:
        self._states = context.states
        self._program = Program(context.trace, None, [context.trace.output])
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


def split_samples(context: FusionContext, classes: int) -> tuple[Samples, Samples]:
    """Calibration samples to train on and to judge by: a held-out fifth (all of them where there are too few)."""
    x = torch.cat(list(context.batches(1024)))
    y = x.new_zeros(len(x), classes)
    if context.data.y is not None:
        y[torch.arange(len(x)), context.data.y.to(x.device)] = 1.0
    mask = context.held_out.to(x.device)
    if not bool(mask.any()):
        return Samples(x, y), Samples(x, y)
    return Samples(x[~mask], y[~mask]), Samples(x[mask], y[mask])


def trainable(context: FusionContext, state: State) -> list[str]:
    """Names of all weights that training may change."""
    return [name for name in context.trace.parameters if state[name].is_floating_point()]


def distil(
    context: FusionContext,
    state: State,
    names: Sequence[str],
    student: Program,
    sample: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    judge: tuple[Tensor, Tensor],
    settings: Settings,
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
    problem = _Problem(context, state, names, student, sample, judge, label)
    tried: dict[float, float] = {}
    rate = _RATES[1] if settings.rate == "auto" else settings.rate
    if settings.rate == "auto" and settings.steps >= _LEAST_STEPS:
        short = max(10, settings.steps // 10)
        for i, candidate in enumerate(_RATES):
            share = (0.2 * i / len(_RATES), 0.2 * (i + 1) / len(_RATES))
            tried[candidate] = problem.train(replace(settings, steps=short), candidate, share, trial=True).loss
        rate = min(tried, key=lambda r: tried[r])
    if tried and not min(tried.values()) < problem.start:
        outcome = _Outcome({}, problem.start)  # what a tenth of the steps never lowers, all of them hardly will
    else:
        outcome = problem.train(settings, rate, (0.2 if tried else 0.0, 1.0))
    context.decisions[label] = {
        "rate": rate,
        **({"rates_held_out": {f"{r:g}": loss for r, loss in tried.items()}} if tried else {}),
        "steps": outcome.step,
        "held_out_before": problem.start,
        "held_out_after": outcome.loss,
        "curve": [point for point in outcome.curve if all(map(math.isfinite, point))],
    }
    return {**state, **outcome.weights}


@dataclass
class _Outcome:
    """The best weights seen, their held-out loss and step; the curve of (step, loss, held-out loss)."""

    weights: dict[str, Tensor]
    loss: float
    step: int = 0
    curve: list[tuple[int, float, float]] = field(default_factory=list)


class _Problem:
    """What is trained, on what, and how it is judged; see `distil`."""

    def __init__(
        self,
        context: FusionContext,
        state: State,
        names: Sequence[str],
        student: Program,
        sample: Callable[[torch.Generator], tuple[Tensor, Tensor]],
        judge: tuple[Tensor, Tensor],
        label: str,
    ) -> None:
        self.context, self.state, self.names, self.student = context, state, names, student
        self.sample, self.judge, self.label = sample, judge, label
        self.start = self.judged(state)
        if not math.isfinite(self.start):
            raise FusionError(f"{label}: the fused model's outputs are not finite; solve with a larger ridge")

    @torch.no_grad()
    def judged(self, state: State) -> float:
        """Held-out cross entropy."""
        return float(_cross_entropy(self.student(state, self.judge[0])[0], self.judge[1]))

    def train(
        self, settings: Settings, rate: float, share: tuple[float, float], *, trial: bool = False
    ) -> _Outcome:
        """Train from the start at this highest rate. share: the part of the progress. trial: reports no losses."""
        context, label = self.context, self.label
        generator = torch_generator(context.seed, "distillation", label, device=context.device.type)
        weights = {n: self.state[n].detach().to(context.device).clone().requires_grad_() for n in self.names}
        current = {**self.state, **weights}
        optimiser = torch.optim.Adam(weights.values(), lr=rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, settings.steps, pct_start=_WARM_UP)
        outcome, failures, held_out = _Outcome(_snapshot(weights), self.start), 0, self.start
        for step in range(1, settings.steps + 1):
            x, target = self.sample(generator)
            loss = _cross_entropy(self.student(current, x)[0], target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            now = float(loss.detach())
            if step % settings.check_every == 0 or step == settings.steps:
                held_out = self.judged(current)
                outcome.curve.append((step, now, held_out))
                failures += 1
                if held_out < outcome.loss:
                    outcome.weights, outcome.loss, outcome.step, failures = _snapshot(weights), held_out, step, 0
            detail = {"level": label, "index": 0, "levels": 1, "step": step, "steps": settings.steps}
            # A loss that is not finite has no place in JSON.
            detail |= {k: v for k, v in (("loss", now), ("held_out", held_out)) if math.isfinite(v)}
            done = share[0] + (share[1] - share[0]) * step / settings.steps
            if trial:
                context.progress("post", done, f"{label}: trying the rate {rate:g}")
            else:
                context.progress("post", done, f"{label}: step {step} of {settings.steps}", detail)
            if failures >= settings.patience or not math.isfinite(held_out):
                break
        return outcome


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * logits.log_softmax(-1)).sum(-1).mean()


def _snapshot(trained: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trained.items()}
