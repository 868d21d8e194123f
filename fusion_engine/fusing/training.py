"""Gradient descent on some of a model's weights, judged by held-out samples: the trainer of levels and refining."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from ..core.types import State

Optimiser = Literal["adam", "sgd"]
Scheduler = Literal["one_cycle", "cosine", "constant"]

_MEAN_OF = 10.0  # a running mean's newest share, over 1 / step
_SUPER_WARM_UP = 0.101  # torch's schedule divides by zero where a tenth of the steps is exactly one


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    steps: at most. check_every: steps between two looks at the held-out samples; patience: looks without a better one
    before it stops. rate: the highest learning rate. scheduler: one_cycle rises linearly and falls as a cosine;
    super_convergence (Smith & Topin 2019) also moves the momentum. average: the running mean of the weights, over the
    last tenth of the steps so far (Polyak & Juditsky 1992, decaying), is looked at besides and kept where it is better.
    """

    steps: int
    check_every: int
    patience: int
    rate: float
    optimiser: Optimiser = "adam"
    weight_decay: float = 0.0
    scheduler: Scheduler | Literal["super_convergence"] = "one_cycle"
    average: bool = False


@dataclass(frozen=True)
class Point:
    """A look at the held-out samples. loss: of the last step; mean: of all samples since the look before."""

    step: int
    loss: float
    mean: float
    held_out: float


@dataclass
class Outcome:
    """The best weights seen (none where nothing was better than the bound given), their held-out loss and step.
    diverged: whether training was stopped for it."""

    weights: dict[str, Tensor]
    best: float
    step: int = 0
    diverged: bool = False
    curve: list[Point] = field(default_factory=list)


def train(
    start: State,
    loss: Callable[[State], tuple[Tensor, int]],
    judge: Callable[[State], float],
    settings: TrainingSettings,
    *,
    best: float = math.inf,
    highest: float = math.inf,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_check: Callable[[Point], None] = lambda point: None,
) -> Outcome:
    """Train the tensors `start` and return the best weights by held-out loss that are better than `best`.

    loss(weights): the mean loss over a batch that it draws, differentiable, and the batch's samples. judge(weights):
    the held-out loss. It stops at a loss that is not finite, or a held-out one above `highest` (diverged), and after
    `settings.patience` looks without a better one. Nothing given is modified.
    """
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in start.items()}
    optimiser = _optimiser(list(weights.values()), settings)
    schedule = _schedule(optimiser, settings)
    outcome, failures, total, seen = Outcome({}, best), 0, 0.0, 0
    mean = {name: tensor.detach().clone() for name, tensor in weights.items()} if settings.average else {}
    for step in range(1, settings.steps + 1):
        with torch.enable_grad():
            value, samples = loss(weights)
            optimiser.zero_grad()
            value.backward()
        optimiser.step()
        schedule.step()
        for name, tensor in mean.items():
            tensor.lerp_(weights[name].detach(), min(1.0, _MEAN_OF / step))
        now = float(value.detach())
        total, seen = total + now * samples, seen + samples
        if step % settings.check_every == 0 or step == settings.steps or not math.isfinite(total):
            kept, held_out = weights, judge(weights)
            if mean and (smooth := judge(mean)) < held_out:
                kept, held_out = mean, smooth
            point = Point(step, now, total / seen, held_out)
            total, seen = 0.0, 0
            outcome.curve.append(point)
            on_check(point)
            if not (math.isfinite(point.mean) and math.isfinite(point.held_out) and point.held_out <= highest):
                outcome.diverged = True
            elif point.held_out < outcome.best:
                outcome.weights = {name: tensor.detach().clone() for name, tensor in kept.items()}
                outcome.best, outcome.step, failures = point.held_out, step, 0
            else:
                failures += 1
        on_step(step, now)
        if outcome.diverged or failures >= settings.patience:
            break
    return outcome


def try_rates(rates: Sequence[float], trial: Callable[[float], Outcome]) -> dict[float, float]:
    """By rate the best held-out loss of a short run, infinite where it diverged."""
    outcomes = {rate: trial(rate) for rate in rates}
    return {rate: math.inf if outcome.diverged else outcome.best for rate, outcome in outcomes.items()}


def _optimiser(weights: list[Tensor], settings: TrainingSettings) -> torch.optim.Optimizer:
    if settings.optimiser == "adam":
        return torch.optim.Adam(weights, lr=settings.rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(weights, lr=settings.rate, momentum=0.9, weight_decay=settings.weight_decay)


def _schedule(optimiser: torch.optim.Optimizer, settings: TrainingSettings) -> lr_scheduler.LRScheduler:
    """torch's schedulers, a step at a time."""
    steps = settings.steps
    if settings.scheduler == "super_convergence":
        return lr_scheduler.OneCycleLR(optimiser, settings.rate, steps, pct_start=_SUPER_WARM_UP)
    if settings.scheduler == "constant":
        return lr_scheduler.ConstantLR(optimiser, factor=1.0)
    if settings.scheduler == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimiser, steps)
    warm = max(1, steps // 10)
    rising = lr_scheduler.LinearLR(optimiser, 1 / (warm + 1), 1.0, warm)
    falling = lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm))
    return lr_scheduler.SequentialLR(optimiser, [rising, falling], [warm])
