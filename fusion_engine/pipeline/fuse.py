"""Fuse parents by a recipe: the plan of a fusion, a stage a line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.progress import Listener, Progress, no_progress
from ..core.recipe import Recipe
from ..core.types import Grouping, State
from ..data import Dataset
from ..evaluation import Predictions, compared
from ..fusing import Inputs, Resume, RunLog, output_weights
from ..grouping import Grouped, group_every_space
from ..parents import Parent
from ..post import refine
from ..solvers import nodes_to_read, solve
from ..stats import StatisticsCache
from .again import Finished, go_on
from .edit_report import edit_report
from .few_samples import judged_by_few
from .prepare import Prepared, prepare
from .result import FusionResult, fusion_result

# Each stage's part of the whole progress.
_SPANS = {
    "prepare": (0.0, 0.25),
    "grouping": (0.25, 0.4),
    "solve": (0.4, 0.7),
    "post": (0.7, 0.88),
    "few": (0.88, 0.9),
    "evaluate": (0.9, 1.0),
}


def fuse(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: str | Recipe | Mapping[str, Any] = "kf_linear",
    *,
    seed: int = 0,
    test: Dataset | None = None,
    on_progress: Listener = no_progress,
    device: str = "cpu",
    cache: StatisticsCache | None = None,
    base: Parent | str | Path | None = None,
    groupings: Mapping[str, Grouping] | None = None,
    resume: Resume | None = None,
) -> FusionResult:
    """Fuse 1 to 8 parents of one architecture into one network.

    data: calibration samples. recipe: a preset's name, a Recipe or its mapping. test: if given, the report holds
    accuracies of parents, references and the fused model. Results depend on the set of samples and the seed, not
    on the order of the samples. cache: where several fusions of the same parents keep what they have in common; it
    changes no bit of the result. base: the model that the parents were trained from, or its file, for recipes that
    need one. groupings: of some spaces or all, by space, to be taken as they are but for the recipe's edits; the
    recipe groups the others. resume:
    the levels before one keep the weights that a finished fusion gave them (`FusionResult.resume`); the groupings that
    they go with have to be given. Parents and data are never modified. Raises FusionError subclasses with one line that
    says what to do; `Cancelled` if `on_progress` raises it.
    """
    log = RunLog(Progress.to(on_progress))
    return _run(
        log, test, groupings, None, parents=parents, data=data, recipe=recipe, seed=seed, device=device, cache=cache,
        base=base, resume=resume,
    )  # fmt: skip


def fuse_again(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: Recipe | Mapping[str, Any],
    finished: FusionResult | Finished,
    *,
    seed: int = 0,
    test: Dataset | None = None,
    on_progress: Listener = no_progress,
    device: str = "cpu",
    cache: StatisticsCache | None = None,
    base: Parent | str | Path | None = None,
) -> FusionResult:
    """Fuse by the recipe of a `finished` fusion with other edits, in a part of the time: the weights are those of
    `fuse` with that recipe, to the bit.

    Groupings are taken over, and levels before the first that the change of edits touches keep their weights; where
    training makes weights depend on all levels, they are solved again, and a note says so. The other arguments are as
    in `fuse` and have to be those of the finished fusion: FusionError in one line where parents, samples, seed or the
    rest of the recipe differ.

        first = fuse(parents, data, "kf_linear")
        edits = [{"edit": "move", "space": "fc2", "neurons": ["0:17"], "to": "1:3"}]
        second = fuse_again(parents, data, {**first.recipe.to_mapping(), "edits": edits}, first)
    """
    log = RunLog(Progress.to(on_progress))
    known = finished.finished() if isinstance(finished, FusionResult) else finished
    return _run(
        log, test, None, known, parents=parents, data=data, recipe=recipe, seed=seed, device=device, cache=cache,
        base=base,
    )  # fmt: skip


def _run(
    log: RunLog,
    test: Dataset | None,
    groupings: Mapping[str, Grouping] | None,
    finished: Finished | None,
    **given: Any,
) -> FusionResult:
    """given: what `prepare` takes."""
    by_hand = groupings is not None or given.get("resume") is not None
    with log.stage("total"):
        prepared = prepare(log=log.part(*_SPANS["prepare"], "trace"), test=test, **given)
        if finished is not None:
            prepared, groupings = go_on(prepared, finished, log)
        grouped = _group(prepared, groupings, log.part(*_SPANS["grouping"], "grouping"))
        solved, fused, grouped = _solve_and_refine(prepared, grouped, log)
        if not by_hand:
            part = log.part(*_SPANS["few"], "post")
            taken, grouped = judged_by_few(prepared, grouped, fused, _make, part)
            solved, fused = (solved, fused) if taken is fused else (taken, taken)
    edits = edit_report(prepared, grouped, log.part(*_SPANS["evaluate"], "evaluate")) if grouped.edits else []
    references, answers = _compare(prepared, fused, test, log)
    log.progress.part(*_SPANS["evaluate"], "evaluate").report(1.0, "done")
    return fusion_result(prepared, grouped, solved, fused, references, log, edits, answers)


def _group(prepared: Prepared, given: Mapping[str, Grouping] | None, log: RunLog) -> Grouped:
    """The grouping of every space; late ones wait for the solver."""
    inputs, solver = prepared.inputs, prepared.recipe.solver
    nodes, budget = nodes_to_read(inputs, solver.method, solver.parameters)
    with log.stage("grouping"):
        return group_every_space(
            inputs, prepared.recipe.grouping, log, statistics=prepared.statistics, nodes=nodes, budget=budget,
            given=given, edits=prepared.recipe.edits,
        )  # fmt: skip


def _solve_and_refine(
    prepared: Prepared, grouped: Grouped, log: RunLog
) -> tuple[dict[str, Tensor], dict[str, Tensor], Grouped]:
    """The fused state as it was solved, as it was refined, and the groupings it has."""
    inputs, recipe = prepared.inputs, prepared.recipe
    everything = replace(inputs, reserve=False)
    spare = grouped.again(everything)  # late groups are made while solving
    solving = log.part(*_SPANS["solve"], "solve")
    solved = solve(inputs, grouped, solving, recipe.solver.method, recipe.solver.parameters)
    fused = _refine(inputs, grouped.groupings, solved, recipe, log.part(*_SPANS["post"], "post"))
    if inputs.reserve and recipe.post and all(torch.equal(fused[name], solved[name]) for name in fused):
        # Training brought nothing: then the held-out samples are free to be solved for.
        quiet = replace(solving, notes=[])
        solved = solve(everything, spare, quiet, recipe.solver.method, recipe.solver.parameters)
        return solved, solved, spare
    return solved, fused, grouped


def _make(prepared: Prepared, log: RunLog) -> State:
    """The state that the recipe gives."""
    return _solve_and_refine(prepared, _group(prepared, None, log), log)[1]


def _refine(
    inputs: Inputs, groupings: Mapping[str, Grouping], solved: dict[str, Tensor], recipe: Recipe, log: RunLog
) -> dict[str, Tensor]:
    """The recipe's steps after the solve, one after the other."""
    fused = solved
    for i, step in enumerate(recipe.post):
        part = log.part(i / len(recipe.post), (i + 1) / len(recipe.post))
        fused = refine(inputs, groupings, fused, part, step.method, step.parameters)
    return fused


def _compare(
    prepared: Prepared, fused: Mapping[str, Tensor], test: Dataset | None, log: RunLog
) -> tuple[dict[str, Any], Predictions | None]:
    """Figures of parents, references and the fused network on the test samples, and their answers; none without."""
    if test is None:
        return {}, None
    inputs, statistics = prepared.inputs, prepared.statistics
    with log.stage("evaluate"):
        log.progress.part(*_SPANS["evaluate"], "evaluate").report(0.0, "comparing with the references on the test data")
        once = partial(statistics.outputs, inputs.trace, inputs.states, test)
        weights = output_weights(inputs, "importance").weights
        on_cpu = {name: fused[name].detach().cpu() for name in prepared.parents[0].state}
        return compared(prepared.parents, on_cpu, test, weights, device=inputs.device, once=once)
