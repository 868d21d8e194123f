"""Parents made ready: checked, traced, verified and scored. What fusing and exploring start from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import registry
from ..core.edits import resolved
from ..core.errors import BlamedSpaceError, FusionError
from ..core.progress import Progress
from ..core.recipe import Recipe, Step
from ..core.types import State
from ..data import Dataset, canonical_order, check_samples, missing_note
from ..evaluation import chance_notes, unlike_notes
from ..fusing import Inputs, Resume, RunLog
from ..graph import Trace, output_shape, trace, verify, without_blamed
from ..grouping.editing import refused_spaces
from ..importance import score
from ..parents import Parent, check_inputs, check_parents, load_base, same_widths, settled
from ..presets import get_preset
from ..stats import SharedStatistics, StatisticsCache, checked_device
from ..tasks import find_task, required_task
from .widths import Widths, plan_widths

Given = str | Recipe | Mapping[str, Any]
_OWN_PREDICTIONS = "the calibration data has no labels: each parent's own predictions stand in for them"
_FEW = 20  # samples
# Shares of the progress of making ready.
_SPANS = {"trace": (0.0, 0.16), "verify": (0.16, 0.32), "importance": (0.32, 1.0)}


@dataclass(frozen=True)
class Prepared:
    """What groupings, solvers and refining steps of one fusion are given.

    recipe: with all defaults filled in, and edits that name neurons by numbers. inputs: the traced parents with their
    importances, and the samples in canonical order. statistics: what other fusions of these parents know already.
    """

    parents: tuple[Parent, ...]
    recipe: Recipe
    inputs: Inputs
    statistics: SharedStatistics


def prepare(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: Given,
    log: RunLog,
    *,
    seed: int = 0,
    device: str = "cpu",
    cache: StatisticsCache | None = None,
    base: Parent | str | Path | None = None,
    resume: Resume | None = None,
    test: Dataset | None = None,
    exploring: bool = False,
) -> Prepared:
    """Check parents, samples and recipe, trace and verify the parents' graph, and score their neurons.

    See `fuse` for the arguments. exploring: classes without samples are fine, and so are parents that fail the check,
    as no weights come of it. What is worth knowing goes into the log's notes. Raises FusionError subclasses with one
    line that says what to do.
    """
    where = checked_device(device)
    parents, read = settled(parents, data)
    for line in dict.fromkeys([*check_parents(parents, minimum=1), *read]):
        log.note(line)
    check_samples(data, parents[0].classes, parents[0].input_shape)
    check_inputs(data, parents[0])
    if test is not None:
        check_samples(test, parents[0].classes, parents[0].input_shape)
        check_inputs(test, parents[0])
    start = load_base(base, parents)
    chosen = checked_recipe(parents, data, recipe, start)
    if not exploring:
        _note_assumptions(log, data, parents[0].classes, chosen, start)
    unlike = unlike_notes(data, test)
    data, states = canonical_order(data), tuple(_moved(parent.state, where) for parent in parents)
    statistics = SharedStatistics(
        cache,
        known=[(state, parent.digest) for state, parent in zip(states, parents, strict=True)],
        device=where,
        tick=lambda: log.progress.report(0.0, "waiting for another fusion of these parents"),
    )
    for line in (*_chance_notes(parents, data, statistics), *unlike):
        log.note(line)
    widths = _traced(parents, data, chosen, log, statistics)
    _resolved(chosen, parents, states, widths.trace)  # what cannot be done is refused before more is computed
    widths = _verified(parents, data, chosen, widths, seed, log, statistics, exploring)
    chosen = _resolved(chosen, parents, states, widths.trace)
    for line in (*widths.trace.warnings, *widths.notes):
        log.note(line)
    data = _with_task(data, test, chosen, widths.trace, log)
    with log.stage("importance"):
        progress = log.progress.part(*_SPANS["importance"], "importance")
        scores = score_parents(widths.trace, parents, states, data, chosen.importance, progress, statistics)
    counts = [parent.metadata.class_counts for parent in parents]
    inputs = Inputs(
        widths.trace, states, data, scores, widths.sizes, seed=seed, device=where, resume=resume,
        class_counts=None if None in counts else np.array(counts),
        base=None if start is None else _moved(start.state, where),
        reserve="gradients" in chosen.solving_needs,  # training is stopped early by held-out samples
    )  # fmt: skip
    return Prepared(tuple(parents), chosen, inputs, statistics)


def checked_recipe(parents: Sequence[Parent], data: Dataset, recipe: Given, base: Parent | None = None) -> Recipe:
    """The recipe with every default filled in. Raises RecipeError with the reason, before anything is computed, where
    it cannot work on these parents and these calibration samples."""
    known = all(p.metadata.class_counts is not None for p in parents)
    offered = {"labels": data.y is not None, "class_counts": known, "base": base is not None}
    available = {name for name, there in offered.items() if there}
    return _recipe(recipe).checked(len(parents), available, same_widths(parents))


def score_parents(
    graph: Trace,
    parents: Sequence[Parent],
    states: Sequence[State],
    data: Dataset,
    step: Step,
    progress: Progress | None = None,
    statistics: SharedStatistics | None = None,
) -> tuple[dict[str, Tensor], ...]:
    """Per parent the importances of its neurons by a checked recipe's `step`, computed or as others know them.

    states: the parents' tensors on the device to run on.
    """
    progress, statistics = progress or Progress(), statistics or SharedStatistics()
    scores = []
    for (parent, state), part in progress.each(list(zip(parents, states, strict=True))):
        part = part.saying(f"scoring the neurons of {parent.name}")
        device = next(iter(state.values())).device
        compute = partial(score, graph, state, data, step.method, step.parameters, progress=part, device=device)
        scores.append(statistics.scores(parent.name, graph, state, data, step.written(), compute))
    return tuple(scores)


def _with_task(data: Dataset, test: Dataset | None, recipe: Recipe, graph: Trace, log: RunLog) -> Dataset:
    """The samples, of the task that the labels of the test samples tell where they do not; the log says what was taken.
    Raises DataError for labels that such outputs cannot predict."""
    outputs = output_shape(graph)
    task = find_task(data, outputs)
    if task is None and data.y is None and test is not None and (told := find_task(test, outputs)) is not None:
        data = replace(data, task=told.name)
        task = find_task(data, outputs)
        log.note(f"the calibration samples have no labels: the task is that of the test samples, {told.name!r}")
    elif task is not None and task.why:
        log.note(task.why)
    unknown = data.tokens and data.y is None and task is not None and task.labels(data.x[:1], None) is None
    if unknown and recipe.importance.method not in ("uniform", "activation"):
        log.note(_OWN_PREDICTIONS)
    if test is not None:
        required_task(test, outputs)
    return data


def _resolved(recipe: Recipe, parents: Sequence[Parent], states: Sequence[State], graph: Trace) -> Recipe:
    """The recipe with edits that are known to fit the parents; FusionError in one line otherwise."""
    if not recipe.edits:
        return recipe
    own = [graph.fitting(state).spaces for state in states]
    sizes = {name: [spaces[name].size for spaces in own] for name in graph.spaces}
    return recipe.with_edits(resolved(recipe.edits, [p.name for p in parents], sizes, refused_spaces(graph)))


def _recipe(recipe: Given) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return get_preset(recipe).recipe if isinstance(recipe, str) else Recipe.from_mapping(recipe)


def _moved(state: State, device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in state.items()}


def _note_assumptions(log: RunLog, data: Dataset, classes: int, recipe: Recipe, base: Parent | None) -> None:
    if len(data) < _FEW:
        log.note(
            f"{len(data)} calibration samples are too few to choose anything by held-out error: the plain average, "
            "which needs none, may well be better"
        )
    if lacking := missing_note(data, classes):
        log.note(lacking)
    if data.y is None and not data.tokens and recipe.importance.method not in ("uniform", "activation"):
        log.note(_OWN_PREDICTIONS)
    if base is not None and "base" not in recipe.solving_needs:
        log.note("the recipe has no use for the base model")


def _chance_notes(parents: Sequence[Parent], data: Dataset, statistics: SharedStatistics) -> list[str]:
    """`chance_notes`, which is the same whenever the same parents meet the same samples."""
    key = [f"{p.name}:{p.architecture}:{p.digest}:{p.metadata.class_counts}" for p in parents]
    find = partial(chance_notes, parents, data)
    return statistics.once("parents at chance", "verify", [*key, data.name, data.digest], find)


def _shape_of(recipe: Recipe) -> list[Any]:
    """What the traces of a fusion depend on besides parents and samples."""
    plans = registry.get("grouping", recipe.grouping.method).plan is not None
    return [recipe.width, *([str(recipe.grouping.written())] if plans else [])]


def _traced(
    parents: Sequence[Parent], data: Dataset, recipe: Recipe, log: RunLog, statistics: SharedStatistics
) -> Widths:
    """The parents' common graph, and the widths of the fused network."""
    example = data.normalised(slice(0, 2))
    key = [*(f"{parent.architecture}:{parent.digest}" for parent in parents), data.digest, *_shape_of(recipe)]

    def compute() -> Widths:
        return plan_widths(parents, trace(parents[0].model, (example,)), example, recipe.width, recipe.grouping)

    with log.stage("trace"):
        log.progress.part(*_SPANS["trace"], "trace").report(0.0, "tracing the architecture")
        return statistics.once("trace", "trace", key, compute)


def _verified(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: Recipe,
    widths: Widths,
    seed: int,
    log: RunLog,
    statistics: SharedStatistics,
    exploring: bool,
) -> Widths:
    """Check on every parent that neurons can be exchanged without changing its function. Spaces of which that is not
    true stay in place, which the trace's warnings say. exploring: what cannot be fused is shown too."""
    example = (data.normalised(slice(0, 2)),)
    progress = log.progress.part(*_SPANS["verify"], "verify")
    with log.stage("verify"):
        for parent, _ in progress.each(parents, lambda p: f"checking that neurons of {p.name} can be exchanged"):
            check = partial(verify, widths.trace.fitting(parent.state), parent.state, example, seed=seed)
            key = [f"{parent.architecture}:{parent.digest}", data.digest, *_shape_of(recipe), seed]
            try:
                try:
                    statistics.once(f"verification of {parent.name}", "verify", key, check)
                except BlamedSpaceError:
                    settle = partial(without_blamed, widths.trace, [p.state for p in parents], example, seed=seed)
                    graph = statistics.once("spaces that stay in place", "verify", key, settle)
                    sizes = {name: size for name, size in widths.sizes.items() if name in graph.spaces}
                    return replace(widths, trace=graph, sizes=sizes)
            except FusionError as problem:
                if not exploring:
                    raise
                log.note(f"these parents cannot be fused: {problem}")
                return widths
    return widths
