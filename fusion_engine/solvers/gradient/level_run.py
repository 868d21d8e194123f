"""Train the levels of a model one after another, each behind the finished ones before it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...core.level_plan import Plan, merge_levels
from ...core.progress import Progress
from ...core.seeds import torch_generator
from ...core.types import Level, State
from ...fusing import RunLog
from ...fusing.training import Outcome, Point, TrainingSettings, train, try_rates
from ...graph import with_aliases
from .level_data import Lesson, Prefix
from .level_problem import LevelProblem, level_nodes

_EXACT = 1e-7  # held-out error of a level that is as it should be, up to rounding in float32
_RATE = 1e-3  # where none is tried
_RATES = {"adam": (3e-4, 1e-3, 3e-3), "sgd": (1e-2, 3e-2, 1e-1)}
_QUIET_SECONDS = 0.2  # a step is reported when nothing has been for so long
# Held-out error at which a level has diverged: this many times its start, and never less than this much of its
# target's variance (a start that is nearly exact may get worse for a while).
_DIVERGED_TIMES = 10.0
_DIVERGED_LEAST = 0.5


@dataclass(frozen=True)
class Options:
    """What a user sets for every level. settings: steps, checks and rate are each level's. batch: samples a step.
    rate: None where it is searched for."""

    settings: TrainingSettings
    batch: int
    rate: float | None
    perturbation: float
    align_skips: bool


@dataclass(frozen=True)
class RunResult:
    """The fused state, a report of every level, and the held-out loss at the model's output."""

    state: dict[str, Tensor]
    steps: list[dict[str, Any]]
    error: float


@dataclass(frozen=True)
class LevelRun:
    """What all runs over the levels share. budget: bytes for the tensors at the levels' inputs."""

    lesson: Lesson
    log: RunLog
    options: Options
    budget: int

    def run(
        self, plan: Plan, start: State, solution: State, epochs: int, rate_epochs: int, *, quiet: str = ""
    ) -> RunResult:
        """Train every level of `plan` from `start` for at most `epochs` epochs.

        solution: what replaces a level that diverges. rate_epochs: of every trial of a rate; 0: no trials. quiet: what
        a trial is called in its messages; it reports no curves.
        """
        inputs, trace = self.lesson.inputs, self.lesson.inputs.trace
        state, levels = dict(start), merge_levels(trace.levels, plan)
        prefix = Prefix(trace, self.lesson.pool.x, size=self.lesson.size, budget=self.budget)
        used = set(inputs.kept_tensors)
        steps: list[dict[str, Any]] = []
        error = math.nan
        for level in levels:
            own = [name for name in level.tensors if name not in used]
            used.update(level.tensors)
            progress = _LevelProgress(self.log.progress, level, len(levels), epochs, quiet)
            nodes = level_nodes(trace, level, self.lesson.goal, align_skips=self.options.align_skips)
            problem = LevelProblem(self.lesson, state, level, prefix, nodes)
            step = self._level(problem, state, solution, own, rate_epochs, progress)
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
        rate_epochs: int,
        progress: _LevelProgress,
    ) -> dict[str, Any]:
        """Train one level and put its weights into `state`."""
        level, inputs = problem.level, self.lesson.inputs
        names = [name for name in own if name in inputs.trace.parameters and state[name].is_floating_point()]
        before = problem.held_out({})
        as_it_is = "least_squares" if all(state[n] is solution[n] for n in own) else "start"
        step: dict[str, Any] = {"level": level.name, "rate": None, "epochs": 0}
        step |= {"held_out_before": before, "held_out_after": before, "kept": as_it_is, "reason": "", "curve": []}
        if not names:
            kept = bool(inputs.kept_tensors.keys() & set(level.tensors))
            return step | {"reason": "kept" if kept else "its parameters belong to levels before it"}
        if before < _EXACT:
            return step | {"reason": "it is exact already"}
        begin = self._perturbed(level, {name: state[name] for name in names})
        rate = _RATE if self.options.rate is None else self.options.rate
        if self.options.rate is None and rate_epochs:
            rate = self._rate(problem, begin, before, rate_epochs, progress)
        outcome = self._train(problem, begin, rate, before, progress)
        curve = [_finite(point, self._steps) for point in outcome.curve]
        step |= {"rate": rate, "epochs": len(curve), "curve": curve}
        if outcome.diverged:
            self._put(state, {name: solution[name] for name in own})
            after = problem.held_out({})
            last = outcome.curve[-1]
            why = f"held-out error {last.held_out:.3g} in epoch {len(curve)}, {before:.3g} before"
            if not progress.quiet:
                line = f"training at rate {rate:g} diverged ({why}), so it has its least-squares solution"
                self.log.note(f"level {level.name}: {line}")
            return step | {"held_out_after": after, "kept": "least_squares", "reason": f"diverged: {why}"}
        if not outcome.best < before:
            return step | {"reason": "training did not lower the held-out error"}
        self._put(state, outcome.weights)
        best_epoch = outcome.step // self._steps
        reason = "" if best_epoch == len(curve) else f"weights of epoch {best_epoch}"
        return step | {"held_out_after": outcome.best, "kept": "trained", "reason": reason}

    @property
    def _steps(self) -> int:
        """Steps of an epoch."""
        return max(1, math.ceil(len(self.lesson.pool.train) / self.options.batch))

    def _train(
        self,
        problem: LevelProblem,
        begin: State,
        rate: float,
        before: float,
        progress: _LevelProgress,
        trial_epochs: int = 0,
    ) -> Outcome:
        """trial_epochs: of a trial of the rate, which reports no curve; 0: no trial."""
        per_epoch, batches, settings = self._steps, self._batches(problem.level), self.options.settings
        epochs, patience = trial_epochs or progress.epochs, trial_epochs or settings.patience

        def loss(weights: State) -> tuple[Tensor, int]:
            index = next(batches)
            return problem.loss(weights, index), len(index)

        def on_step(step: int, value: float) -> None:
            progress.batch((step - 1) // per_epoch + 1, ((step - 1) % per_epoch + 1) / per_epoch)

        def on_check(point: Point) -> None:
            if not trial_epochs:
                progress.epoch(-(-point.step // per_epoch), point.mean, point.held_out)

        settings = replace(settings, steps=epochs * per_epoch, check_every=per_epoch, patience=patience, rate=rate)
        highest = max(_DIVERGED_TIMES * before, _DIVERGED_LEAST)
        return train(begin, loss, problem.held_out, settings, highest=highest, on_step=on_step, on_check=on_check)

    def _batches(self, level: Level) -> Iterator[Tensor]:
        """Positions to train on, every epoch in another order. The same for every rate and every plan: what differs
        between trials is what is tried."""
        rows, inputs = self.lesson.pool.train, self.lesson.inputs
        generator = torch_generator(inputs.seed, "gradient", level.name, device=inputs.device.type)
        while True:
            order = rows[torch.randperm(len(rows), generator=generator, device=rows.device)]
            yield from order.split(self.options.batch)

    def _rate(self, problem: LevelProblem, begin: State, before: float, epochs: int, progress: _LevelProgress) -> float:
        """The rate with the smallest held-out error after a few epochs; the smallest one if all diverge."""
        rates = _RATES[self.options.settings.optimiser]
        errors = try_rates(rates, lambda rate: self._train(problem, begin, rate, before, progress, epochs))
        return min(rates, key=lambda rate: errors[rate])

    def _perturbed(self, level: Level, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gaussian noise added to the start, its standard deviation relative to each tensor's own."""
        amount = self.options.perturbation
        if not amount:
            return dict(tensors)
        result = {}
        for name, tensor in tensors.items():
            generator = torch_generator(self.lesson.inputs.seed, "gradient", "perturbation", level.name, name)
            noise = torch.randn(tensor.shape, generator=generator).to(tensor)
            result[name] = tensor + amount * tensor.std(correction=0) * noise
        return result

    def _put(self, state: dict[str, Tensor], tensors: State) -> None:
        """Into `state`, under all names of tied tensors."""
        state.update(with_aliases(dict(tensors), state, self.lesson.inputs.trace))


class _LevelProgress:
    """Reports of one level: every epoch in full, steps only when nothing was reported for a while, so that a request
    to cancel is heard."""

    def __init__(self, progress: Progress, level: Level, levels: int, epochs: int, quiet: str) -> None:
        self.quiet, self._progress, self._level = quiet, progress, level
        self._levels, self.epochs, self._reached, self._last = levels, epochs, 0.0, time.monotonic()

    def message(self, message: str) -> None:
        """Within something other than training."""
        self._report(self._reached, message)

    def epoch(self, epoch: int, loss: float, held_out: float) -> None:
        """After an epoch."""
        self._reached = epoch / self.epochs
        curve = {"epoch": epoch, "epochs": self.epochs, "loss": _number(loss), "held_out": _number(held_out)}
        self._report(self._reached, f"training {self._level.name}: epoch {epoch} of at most {self.epochs}", curve)

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
            self._progress.report(fraction, f"{self.quiet}: {message}")
        else:
            where = {"level": self._level.name, "index": self._level.index, "levels": self._levels}
            self._progress.report(fraction, message, None if detail is None else {**where, **detail})


def _number(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _finite(point: Point, per_epoch: int) -> list[float | None]:
    """Epoch, training loss and held-out loss, as JSON can hold them."""
    return [-(-point.step // per_epoch), _number(point.mean), _number(point.held_out)]
