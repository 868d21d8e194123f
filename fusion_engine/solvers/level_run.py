"""Train the levels of a model one after another, each behind the finished ones before it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.seeds import torch_generator
from ..core.types import Grouping, Level, State
from ..graph import with_aliases
from .level_data import Goal, Merged, Pool, Prefix
from .level_plan import Plan, merge_levels
from .level_problem import LevelProblem, level_nodes
from .level_training import Outcome, Settings, train_level

__all__ = ["LevelRun", "Options", "RunResult", "Trials"]

_EXACT = 1e-7  # held-out error of a level that is as it should be, up to rounding in float32
_RATES = {"adam": (3e-4, 1e-3, 3e-3), "sgd": (1e-2, 3e-2, 1e-1)}
_QUIET_SECONDS = 0.2  # a step is reported when nothing has been for so long


@dataclass(frozen=True)
class Options:
    """What a user sets for every level. settings: their rate is None where it is searched for."""

    settings: Settings
    rate: float | None
    perturbation: float
    align_skips: bool


@dataclass(frozen=True)
class Trials:
    """Epochs of every trial of a rate; 0: no trials, `rate` is used."""

    epochs: int
    rate: float


@dataclass(frozen=True)
class RunResult:
    """The fused state, a report of every level, and the held-out loss at the model's output."""

    state: dict[str, Tensor]
    steps: list[dict[str, Any]]
    error: float


class LevelRun:
    """What all runs over the levels share: the samples, the targets, the options."""

    def __init__(
        self,
        context: FusionContext,
        groupings: Mapping[str, Grouping],
        goal: Goal,
        pool: Pool,
        merged: Merged,
        weights: Mapping[str, Tensor],
        options: Options,
        *,
        size: int,
        budget: int,
    ) -> None:
        self.context, self.groupings, self.goal, self.pool, self.merged = context, groupings, goal, pool, merged
        self.weights, self.options, self.size, self.budget = weights, options, size, budget

    def run(
        self, plan: Plan, start: State, solution: State, epochs: int, trials: Trials, *, quiet: str = ""
    ) -> RunResult:
        """Train every level of `plan` from `start` for at most `epochs` epochs.

        solution: what replaces a level that diverges. quiet: what a trial is called in its messages; it
        reports no curves.
        """
        trace = self.context.trace
        state, levels = dict(start), merge_levels(trace.levels, plan)
        prefix = Prefix(trace, self.pool.x, size=self.size, budget=self.budget)
        used: set[str] = set()
        steps: list[dict[str, Any]] = []
        error = math.nan
        for level in levels:
            own = [name for name in level.tensors if name not in used]
            used.update(level.tensors)
            progress = _LevelProgress(self.context, level, len(levels), epochs, quiet)
            nodes = level_nodes(trace, level, self.goal, align_skips=self.options.align_skips)
            problem = LevelProblem(
                self.context, state, level, self.goal, self.pool, prefix, self.merged, self.weights, nodes, self.size
            )
            step = self._level(problem, state, solution, own, epochs, trials, progress)
            error = step["held_out_after"]
            steps.append(step)
            progress.done(step)
            if level is not levels[-1]:
                prefix.advance(level, problem.output, progress.message)
        return RunResult(state, steps, error)

    def _level(
        self,
        problem: LevelProblem,
        state: dict[str, Tensor],
        solution: State,
        own: list[str],
        epochs: int,
        trials: Trials,
        progress: _LevelProgress,
    ) -> dict[str, Any]:
        """Train one level and put its weights into `state`."""
        level, parameters = problem.level, set(self.context.trace.parameters)
        names = [name for name in own if name in parameters and state[name].is_floating_point()]
        before = problem.held_out({})
        as_it_is = "least_squares" if all(state[n] is solution[n] for n in own) else "start"
        step: dict[str, Any] = {"level": level.name, "rate": None, "epochs": 0}
        step |= {"held_out_before": before, "held_out_after": before, "kept": as_it_is, "reason": "", "curve": []}
        if not names:
            return step | {"reason": "its parameters belong to levels before it"}
        if before < _EXACT:
            return step | {"reason": "it is exact already"}
        begin = self._perturbed(level, {name: state[name] for name in names})
        rate = self.options.rate if self.options.rate is not None else trials.rate
        if self.options.rate is None and trials.epochs:
            rate = self._rate(problem, begin, before, trials.epochs, progress)
        settings = replace(self.options.settings, rate=rate, epochs=epochs)
        outcome = self._train(problem, begin, settings, before, progress, curve=True)
        step |= {"rate": rate, "epochs": len(outcome.curve), "curve": [_finite(entry) for entry in outcome.curve]}
        if outcome.diverged:
            self._put(state, {name: solution[name] for name in own})
            after = problem.held_out({})
            if not progress.quiet:
                self.context.notes.append(
                    f"level {level.name}: training at rate {rate:g} diverged ({outcome.diverged}), so it has its "
                    "least-squares solution"
                )
            return step | {"held_out_after": after, "kept": "least_squares", "reason": f"diverged: {outcome.diverged}"}
        if not outcome.best < before:
            return step | {"reason": "training did not lower the held-out error"}
        self._put(state, outcome.weights)
        reason = "" if outcome.best_epoch == len(outcome.curve) else f"weights of epoch {outcome.best_epoch}"
        return step | {"held_out_after": outcome.best, "kept": "trained", "reason": reason}

    def _train(
        self,
        problem: LevelProblem,
        begin: State,
        settings: Settings,
        before: float,
        progress: _LevelProgress,
        *,
        curve: bool,
    ) -> Outcome:
        # The same stream for every rate and every plan: what differs between trials is what is tried.
        device = self.context.device.type
        generator = torch_generator(self.context.seed, "gradient", problem.level.name, device=device)
        return train_level(
            problem,
            begin,
            settings,
            generator,
            limit=before,
            on_epoch=progress.epoch if curve else None,
            on_batch=progress.batch,
        )

    def _rate(
        self, problem: LevelProblem, begin: State, before: float, epochs: int, progress: _LevelProgress
    ) -> float:
        """The rate with the smallest held-out error after a few epochs; the smallest one if all diverge."""
        rates = _RATES[self.options.settings.optimiser]
        errors = {}
        for rate in rates:
            settings = replace(self.options.settings, rate=rate, epochs=epochs, patience=epochs)
            outcome = self._train(problem, begin, settings, before, progress, curve=False)
            errors[rate] = math.inf if outcome.diverged else outcome.best
        return min(rates, key=lambda rate: errors[rate])

    def _perturbed(self, level: Level, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gaussian noise added to the start, its standard deviation relative to each tensor's own."""
        amount = self.options.perturbation
        if not amount:
            return dict(tensors)
        result = {}
        for name, tensor in tensors.items():
            generator = torch_generator(self.context.seed, "gradient", "perturbation", level.name, name)
            noise = torch.randn(tensor.shape, generator=generator).to(tensor)
            result[name] = tensor + amount * tensor.std(correction=0) * noise
        return result

    def _put(self, state: dict[str, Tensor], tensors: State) -> None:
        """Into `state`, under all names of tied tensors."""
        state.update(with_aliases(dict(tensors), state, self.context.trace))


class _LevelProgress:
    """Reports of one level: every epoch in full, steps only when nothing was reported for a while, so that a request
    to cancel is heard."""

    def __init__(self, context: FusionContext, level: Level, levels: int, epochs: int, quiet: str) -> None:
        self.quiet, self._context, self._level = quiet, context, level
        self._levels, self._epochs, self._reached, self._last = levels, epochs, 0.0, time.monotonic()

    def message(self, fraction: float, message: str) -> None:
        """Within something other than training."""
        self._report(self._reached, message)

    def epoch(self, epoch: int, loss: float, held_out: float) -> None:
        """After an epoch."""
        self._reached = epoch / self._epochs
        curve = {"epoch": epoch, "epochs": self._epochs, "loss": _number(loss), "held_out": _number(held_out)}
        self._report(self._reached, f"training {self._level.name}: epoch {epoch} of at most {self._epochs}", curve)

    def batch(self, epoch: int, fraction: float) -> None:
        """After a step."""
        if time.monotonic() - self._last > _QUIET_SECONDS:
            share = f"{100 * fraction:.0f} % of epoch {epoch}"
            self._report(self._reached, f"training {self._level.name}: {share}")

    def done(self, step: Mapping[str, Any]) -> None:
        """At the end of the level."""
        self._reached = 1.0
        ended = {"done": True, "kept": step["kept"], "reason": step["reason"]}
        self._report(1.0, f"level {self._level.name} is finished", ended)

    def _report(self, part: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
        self._last = time.monotonic()
        fraction = (self._level.index + part) / self._levels
        if self.quiet:
            self._context.progress("solve", fraction, f"{self.quiet}: {message}")
        elif detail is None:
            self._context.progress("solve", fraction, message)
        else:
            where = {"level": self._level.name, "index": self._level.index, "levels": self._levels}
            self._context.progress("solve", fraction, message, {**where, **detail})


def _number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _finite(entry: tuple[int, float, float]) -> list[float | None]:
    return [entry[0], _number(entry[1]), _number(entry[2])]
