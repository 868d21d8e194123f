"""Train the weights of one level by gradient descent, judged by held-out samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..core.types import State
from .level_problem import LevelProblem

__all__ = ["Optimiser", "Outcome", "Scheduler", "Settings", "train_level"]

Optimiser = Literal["adam", "sgd"]
Scheduler = Literal["one_cycle", "cosine", "constant"]

# Held-out error at which a level has diverged: this many times its start, and never less than this much of its
# target's variance (a start that is nearly exact may get worse for a while).
_DIVERGED_TIMES = 10.0
_DIVERGED_LEAST = 0.5

EpochReport = Callable[[int, float, float], None]
"""(epoch, mean training loss, held-out loss); called after every epoch."""
BatchReport = Callable[[int, float], None]
"""(epoch, fraction of the epoch); called after every step."""


@dataclass(frozen=True)
class Settings:
    """How to train a level. rate: the highest learning rate. patience: epochs without a better held-out loss."""

    optimiser: Optimiser
    rate: float
    weight_decay: float
    epochs: int
    batch: int
    patience: int
    scheduler: Scheduler


@dataclass
class Outcome:
    """The best weights seen and how they came to be. diverged: why training was stopped, '' if it was not."""

    weights: dict[str, Tensor]
    best: float
    best_epoch: int = 0
    diverged: str = ""
    curve: list[tuple[int, float, float]] = field(default_factory=list)


def train_level(
    problem: LevelProblem,
    start: State,
    settings: Settings,
    generator: torch.Generator,
    *,
    limit: float,
    on_epoch: EpochReport | None = None,
    on_batch: BatchReport | None = None,
) -> Outcome:
    """Train the tensors `start` and return the best weights by held-out loss; the start is not among them.

    limit: the held-out loss of the level as it is. Training stops when it diverges: a loss that is not finite, or
    one far above the limit. Inputs are not modified.
    """
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in start.items()}
    optimiser = _optimiser(weights, settings)
    train = problem.pool.train
    steps = max(1, math.ceil(len(train) / settings.batch))
    highest = max(_DIVERGED_TIMES * limit, _DIVERGED_LEAST)
    outcome = Outcome({}, math.inf)
    step = 0
    for epoch in range(1, settings.epochs + 1):
        order = train[torch.randperm(len(train), generator=generator, device=train.device)]
        total = 0.0
        for index in order.split(settings.batch):
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * _share(settings.scheduler, step, settings.epochs * steps)
            step += 1
            with torch.enable_grad():
                loss = problem.loss(weights, index)
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(index)
            if on_batch is not None:
                on_batch(epoch, (step - (epoch - 1) * steps) / steps)
            if not math.isfinite(total):
                break
        loss_now, held = total / len(train), problem.held_out(weights)
        outcome.curve.append((epoch, loss_now, held))
        if on_epoch is not None:
            on_epoch(epoch, loss_now, held)
        if not (math.isfinite(loss_now) and held <= highest):
            outcome.diverged = f"held-out error {held:.3g} in epoch {epoch}, {limit:.3g} before"
            break
        if held < outcome.best:
            outcome.best, outcome.best_epoch = held, epoch
            outcome.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        elif epoch - outcome.best_epoch >= settings.patience:
            break
    return outcome


def _optimiser(weights: dict[str, Tensor], settings: Settings) -> torch.optim.Optimizer:
    if settings.optimiser == "adam":
        return torch.optim.Adam(weights.values(), lr=settings.rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(weights.values(), lr=settings.rate, momentum=0.9, weight_decay=settings.weight_decay)


def _share(scheduler: Scheduler, step: int, steps: int) -> float:
    """The learning rate at a step, as a share of the highest."""
    if scheduler == "constant":
        return 1.0
    warm = max(1, steps // 10) if scheduler == "one_cycle" else 0
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
