"""Fuse parents by a recipe: trace, verify, score, group, solve, refine, report."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import __version__
from .context import FusionContext, ProgressReport, Stopwatch
from .core import registry
from .core.errors import RecipeError
from .core.recipe import Recipe, Step
from .core.types import Grouping, Progress, ProgressCallback, State, no_progress
from .data import Dataset, canonical_order, check_calibration, check_samples
from .evaluation import compare
from .fusion_report import facts, width
from .graph import Trace, trace, verify
from .importance import score
from .parents import (
    Metadata,
    Parent,
    check_parents,
    config_for,
    header,
    load_base,
    module_for,
    same_widths,
    write_state,
)
from .post import refine
from .presets import get_preset
from .solvers import solve
from .solvers.head import head
from .stats import SharedStatistics, StatisticsCache, checked_device
from .widths import Widths, plan_widths

__all__ = ["FusionResult", "checked_recipe", "fuse", "score_parent"]

# Shares of the whole job's progress bar, by stage, in order.
_SHARES = {
    "trace": 0.04,
    "verify": 0.04,
    "importance": 0.17,
    "grouping": 0.15,
    "solve": 0.3,
    "post": 0.2,
    "evaluate": 0.1,
}


@dataclass(frozen=True)
class FusionResult:
    """A fused network and everything known about how it came to be.

    state: the parents' canonical tensor names -> tensors. model: a copy of the parents' module with those weights,
    in eval mode. trace: the parents' common graph. groupings: space -> Grouping. importance: space (and 'output')
    -> k arrays. report: see the command line's report.json.
    """

    state: dict[str, Tensor]
    model: nn.Module
    groupings: dict[str, Grouping]
    importance: dict[str, list[np.ndarray]]
    report: dict[str, Any]
    recipe: Recipe
    trace: Trace = field(repr=False)
    parents: tuple[Parent, ...] = field(repr=False, default=())

    def save(self, folder: str | Path) -> None:
        """Write fused.safetensors (with the parents' own tensor names), recipe.yaml, report.json, groupings.npz."""
        from .store.results import write_result

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_state(path / "fused.safetensors", self.file_state(), self.metadata())
        write_result(path, self.recipe.to_yaml(), self.report, self.groupings, self.importance)

    def file_state(self) -> dict[str, Tensor]:
        """The fused state under the names of the first parent's file, so that it loads in the parents' code."""
        names = self._file_names()
        return {names[name]: tensor for name, tensor in self.state.items()}

    def metadata(self) -> dict[str, str]:
        """Text metadata of the fused file: what network its weights are of, and how they came to be."""
        about = {"fused_by": f"neuron-fusion-lab {__version__}", "recipe": self.recipe.to_yaml()}
        if not self.parents:
            return about
        assumed = {field: line for parent in self.parents for field, line in parent.metadata.assumed.items()}
        config = config_for(self.parents, self.state)
        return {**about, **header(config, self._file_names(), Metadata(assumed=assumed))}

    def _file_names(self) -> dict[str, str]:
        names = self.parents[0].key_map if self.parents else {}
        return {name: names.get(name, name) for name in self.state}


def fuse(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: str | Recipe | Mapping[str, Any] = "kf_linear",
    *,
    seed: int = 0,
    test: Dataset | None = None,
    on_progress: ProgressCallback = no_progress,
    device: str = "cpu",
    cache: StatisticsCache | None = None,
    base: Parent | str | Path | None = None,
) -> FusionResult:
    """Fuse 1 to 8 parents of one architecture into one network.

    data: calibration samples. recipe: a preset's name, a Recipe or its mapping. test: if given, the report holds
    accuracies of parents, references and the fused model. Results depend on the set of samples and the seed, not
    on the order of the samples. cache: where several fusions of the same parents keep what they have in common; it
    changes no bit of the result. base: the model that the parents were trained from, or its file, for recipes that
    need one. Parents and data are never modified. Raises FusionError subclasses with one line
    that says what to do; `Cancelled` if `on_progress` raises it.
    """
    progress, watch = _overall(on_progress), Stopwatch()
    notes, where = list(check_parents(parents, minimum=1)), checked_device(device)
    check_calibration(data, parents[0].classes, parents[0].input_shape)
    if test is not None:
        check_samples(test, parents[0].classes, parents[0].input_shape)
    start = load_base(base, parents)
    chosen = checked_recipe(parents, data, recipe, start)
    counts = [p.metadata.class_counts for p in parents]
    if data.y is None and chosen.importance.method not in ("uniform", "activation"):
        notes.append("the calibration data has no labels: each parent's own predictions stand in for them")
    if start is not None and "base" not in chosen.solving_needs:
        notes.append("the recipe has no use for the base model")
    data = canonical_order(data)
    states = tuple({n: t.to(where) for n, t in p.state.items()} for p in parents)
    shared = SharedStatistics(
        cache,
        known=[(state, parent.digest) for state, parent in zip(states, parents, strict=True)],
        device=where,
        tick=lambda: progress("trace", 0.0, "waiting for another fusion of these parents"),
    )

    with watch.stage("total"):
        widths = _traced(parents, data, chosen, seed, watch, progress, shared)
        graph = widths.trace
        notes += [*graph.warnings, *widths.notes]
        with watch.stage("importance"):
            scores = []
            for p, (parent, state) in enumerate(zip(parents, states, strict=True)):
                report = _scoring(progress, p, parents)
                scores.append(score_parent(shared, graph, parent, state, data, chosen.importance, report, where))
        context = FusionContext(
            trace=graph,
            states=states,
            data=data,
            importance=tuple(scores),
            grouping=chosen.grouping,
            seed=seed,
            device=where,
            class_counts=None if None in counts else np.array(counts),
            watch=watch,
            progress=progress,
            notes=notes,
            sizes=widths.sizes,
            reserve="gradients" in chosen.solving_needs,  # training is stopped early by held-out samples
            shared=shared,
            base=None if start is None else {n: t.to(where) for n, t in start.state.items()},
        )
        solved, groupings = solve(context, chosen.solver.method, chosen.solver.parameters)
        fused = solved
        for i, step in enumerate(chosen.post):
            part = replace(context, progress=_part(progress, i, len(chosen.post)), groupings=groupings)
            fused = refine(part, fused, step.method, step.parameters)
        if context.reserve and chosen.post and all(torch.equal(fused[name], solved[name]) for name in fused):
            # Training brought nothing: then the held-out samples are free to be solved for.
            again = replace(context, reserve=False, notes=[])
            fused, groupings = solve(again, chosen.solver.method, chosen.solver.parameters)
    fused = {name: fused[name].detach().cpu() for name in parents[0].state}
    references: dict[str, Any] = {}
    if test is not None:
        with watch.stage("evaluate"):
            progress("evaluate", 0.0, "comparing with the references on the test data")
            known = partial(shared.outputs, graph, states, test)
            references = compare(parents, fused, test, head(context, "importance").weights, device=where, once=known)
    progress("evaluate", 1.0, "done")
    model = copy.deepcopy(module_for(parents, fused))
    model.load_state_dict(fused)
    return FusionResult(
        state=fused,
        model=model.eval(),
        groupings=groupings,
        importance={name: [s[name].double().cpu().numpy() for s in scores] for name in scores[0]},
        report={**references, **facts(context, groupings, chosen), "width": width(parents, model, graph, groupings)},
        recipe=chosen,
        trace=graph,
        parents=tuple(parents),
    )


def checked_recipe(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: str | Recipe | Mapping[str, Any],
    base: Parent | None = None,
) -> Recipe:
    """The recipe with every default filled in. Raises RecipeError with the reason, before anything is computed, where
    it cannot work on these parents and these calibration samples."""
    known = all(p.metadata.class_counts is not None for p in parents)
    offered = {"labels": data.y is not None, "class_counts": known, "base": base is not None}
    available = {name for name, there in offered.items() if there}
    chosen = _recipe(recipe).checked(len(parents), available)
    spec = registry.get("grouping", chosen.grouping.method)
    if len(parents) > 1 and not same_widths(parents) and spec.widths == "equal":
        reason = "pairs neurons one to one" if spec.pairs else "needs equal widths"
        raise RecipeError(
            f"the parents have different widths and grouping {chosen.grouping.method!r} {reason}; use grouping 'kmeans'"
        )
    return chosen


def _traced(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: Recipe,
    seed: int,
    watch: Stopwatch,
    progress: ProgressReport,
    shared: SharedStatistics,
) -> Widths:
    """The parents' common graph, checked on every parent: neurons can be exchanged without changing a function."""
    example = (data.normalised(slice(0, 2)),)
    same = [*(f"{parent.architecture}:{parent.digest}" for parent in parents), data.digest]
    plans = registry.get("grouping", recipe.grouping.method).plan is not None
    key = [recipe.width, *([str(recipe.grouping.written())] if plans else [])]
    with watch.stage("trace"):
        progress("trace", 0.0, "tracing the architecture")
        widths = shared.once(
            "trace",
            "trace",
            [*same, *key],
            lambda: plan_widths(parents, trace(parents[0].model, example), example[0], recipe.width, recipe.grouping),
        )
    with watch.stage("verify"):
        for p, parent in enumerate(parents):
            progress("verify", p / len(parents), f"checking that neurons of {parent.name} can be exchanged")
            check = partial(verify, widths.trace.fitting(parent.state), parent.state, example, seed=seed)
            shared.once(f"verification of {parent.name}", "verify", [same[p], data.digest, *key, seed], check)
    return widths


def score_parent(
    shared: SharedStatistics,
    graph: Trace,
    parent: Parent,
    state: State,
    data: Dataset,
    step: Step,
    progress: ProgressCallback = no_progress,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Importances of one parent by a checked recipe's `step`, computed or as shared. state: its tensors on `device`."""
    compute = partial(score, graph, state, data, step.method, step.parameters, on_progress=progress, device=device)
    return shared.scores(parent.name, graph, state, data, step.written(), compute)


def _recipe(recipe: str | Recipe | Mapping[str, Any]) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return get_preset(recipe).recipe if isinstance(recipe, str) else Recipe.from_mapping(recipe)


def _overall(on_progress: ProgressCallback) -> ProgressReport:
    """Stage fractions to one fraction of the whole job that never falls."""
    starts = dict(zip(_SHARES, np.cumsum([0.0, *_SHARES.values()]), strict=False))
    reached = 0.0

    def report(stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
        nonlocal reached
        reached = max(reached, round(float(starts[stage] + _SHARES[stage] * min(max(fraction, 0.0), 1.0)), 6))
        on_progress(Progress(stage, reached, message, detail or {}))

    return report


def _part(progress: ProgressReport, index: int, count: int) -> ProgressReport:
    """The share of one of several steps within a stage."""

    def report(stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
        progress(stage, (index + fraction) / count, message, detail)

    return report


def _scoring(progress: ProgressReport, parent: int, parents: Sequence[Parent]) -> ProgressCallback:
    """A parent's share of the importance stage."""
    message = f"scoring the neurons of {parents[parent].name}"
    return lambda event: progress("importance", (parent + event.fraction) / len(parents), message)
