"""All analyses of a set of parents, and of a network fused from them, in one report."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..core.errors import FusionError, ParentError
from ..core.progress import Listener, Progress, no_progress
from ..core.recipe import Recipe, Step
from ..core.registry import check_parameters, nearest
from ..core.types import Grouping, State
from ..data import Dataset, canonical_order, check_samples
from ..evaluation import collect_outputs
from ..fusing import HeadWeights, Inputs, OutputWeights, output_weights
from ..graph import Trace
from ..parents import Parent, check_parents, module_for, settled
from ..pipeline import score_parents, trace_parents
from ..stats import checked_device
from .connectivity import connectivity
from .coverage import coverage
from .error_budget import error_budget
from .shapes import Analysis
from .similarity import similarity

WHAT = ("coverage", "similarity", "connectivity", "budget")
_SCORED = 400  # samples that importances of the outputs are read from


class FusedLike(Protocol):
    """What is analysed of a fused network: its weights, how the parents were grouped, and by what recipe."""

    @property
    def state(self) -> State: ...

    @property
    def groupings(self) -> Mapping[str, Grouping]: ...

    @property
    def recipe(self) -> Recipe | None: ...


@dataclass(frozen=True)
class Fused:
    """A fused network that was read from files. Without groupings it has no error budget."""

    state: State
    groupings: Mapping[str, Grouping]
    recipe: Recipe | None = None


def analyse(
    parents: Sequence[Parent],
    data: Dataset,
    *,
    fused: FusedLike | None = None,
    what: Iterable[str] | None = None,
    align: str = "balanced",
    points: int = 11,
    recalibrate: bool = True,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Listener = no_progress,
) -> Analysis:
    """Analyse parents, and a network fused from them, on `data`. Plain values.

    fused: a FusionResult, or `Fused`. what: some of coverage, similarity, connectivity, budget; None: all that the
    given things allow. align: the pairing grouping of the aligned paths. points, recalibrate: see `connectivity`.
    Networks are connected in pairs: the first parent with every other, and the fused network with every parent. Only
    `similarity` does without labels. Nothing given is modified. Raises FusionError subclasses.
    """
    started, where = time.perf_counter(), checked_device(device)
    parents, read = settled(parents, data)
    notes = list(dict.fromkeys([*check_parents(parents, minimum=1), *read]))
    check_samples(data, parents[0].classes, parents[0].input_shape)
    wanted = _chosen(what, parents, data, fused)
    if data.y is None and what is None:
        notes.append("the data has no labels, so only similarity was analysed")
    elif data.y is not None and data.y.is_floating_point() and what is None:
        notes.append("the labels are values to predict, so only similarity was analysed")
    data = canonical_order(data)  # so that what is drawn from it does not depend on the order of the samples
    progress = Progress.to(on_progress)
    progress.part(0.0, 0.1, "trace").report(0.0, "tracing the architecture")
    graph = trace_parents(parents, data.normalised(slice(0, 2)), [] if fused is None else [fused.state])
    outputs = _outputs(parents, fused, data, where)
    states = [parent.state for parent in parents]
    report: Analysis = {
        "parents": [parent.name for parent in parents], "fused": fused is not None, "what": list(wanted),
        "samples": len(data), "classes": parents[0].classes, "seed": seed,
        "levels": [{"index": level.index, "name": level.name} for level in graph.levels],
    }  # fmt: skip
    seconds: dict[str, float] = {}
    for i, name in enumerate(wanted):
        since, count = time.perf_counter(), len(wanted) + 0.1
        part = progress.part((i + 0.1) / count, (i + 1.1) / count, name)
        part.report(0.0)
        if name == "coverage":
            counts = [parent.metadata.class_counts for parent in parents]
            own, last = outputs[: len(parents)], None if fused is None else outputs[-1]
            report["coverage"] = coverage(report["parents"], own, data, counts, last)
        elif name == "similarity":
            spaces = similarity(graph, states, data, seed=seed, device=where, progress=part)
            report["similarity"] = {"spaces": [space.as_json() for space in spaces]}
        elif name == "connectivity":
            pairs = _pairs(parents, fused, notes)
            found = []
            for (first, second), of_pair in part.each(pairs):
                between = connectivity(
                    graph, first[1], second[1], data, method=align, points=points, recalibrate=recalibrate,
                    seed=seed, device=where, progress=of_pair,
                )  # fmt: skip
                found.append({"first": first[0], "second": second[0], **between.as_json()})
            report["connectivity"] = {"align": align, "pairs": found}
        elif fused is not None:
            rule, joined = _head(graph, parents, fused, data, seed, where)
            budget = error_budget(
                graph, states, fused.state, fused.groupings, data, joined, device=where, progress=part
            )
            report["budget"] = {"head_weights": rule, **budget.as_json()}
        seconds[name] = round(time.perf_counter() - since, 3)
    report["notes"] = [*notes, *graph.warnings]
    report["seconds"] = {**seconds, "total": round(time.perf_counter() - started, 3)}
    progress.part(0.0, 1.0, "done").report(1.0, "done")
    return report


def _chosen(what: Iterable[str] | None, parents: Sequence[Parent], data: Dataset, fused: FusedLike | None) -> list[str]:
    """The analyses to make, in order; None for all that are possible. FusionError for unknown or impossible ones."""
    wanted = list(WHAT if what is None else what)
    reasons = {name: _obstacle(name, parents, data, fused) for name in wanted}
    possible = [name for name in WHAT if reasons.get(name) == ""]
    refused = [reason for reason in reasons.values() if reason]
    if refused and (what is not None or not possible):
        raise FusionError(refused[0])
    if not wanted:
        raise FusionError(f"no analysis was chosen; there are {', '.join(WHAT)}")
    return possible


def _obstacle(name: str, parents: Sequence[Parent], data: Dataset, fused: FusedLike | None) -> str:
    """Why an analysis cannot be made; '' if it can."""
    if name not in WHAT:
        return f"unknown analysis {name!r}{nearest(name, WHAT)}"
    if name == "budget" and (fused is None or not fused.groupings):
        return "an error budget needs a fused network and its groupings: give the folder of a fusion's run"
    if name == "similarity" and len(parents) < 2:
        return "similarity compares parents; give two or more"
    if name == "connectivity" and len(parents) < 2 and fused is None:
        return "connectivity is between two networks; give another parent, or a fused network"
    if name != "similarity" and data.y is None:
        return f"{data.name}: there are no labels; without them only similarity can be analysed"
    if name != "similarity" and data.y is not None and data.y.is_floating_point():
        return f"{data.name}: the labels are values to predict; with them only similarity can be analysed"
    if name == "coverage" and data.tokens and not data.is_classified:
        return f"{data.name}: coverage is about the classes of samples, and these labels are of tokens"
    return ""


Named = tuple[str, State]


def _pairs(parents: Sequence[Parent], fused: FusedLike | None, notes: list[str]) -> list[tuple[Named, Named]]:
    """The first parent with every other, every parent with the fused network; only those of one width."""
    named: list[Named] = [(parent.name, parent.state) for parent in parents]
    pairs = [(named[0], other) for other in named[1:]]
    if fused is not None:
        pairs += [(own, ("fused", fused.state)) for own in named]
    kept = []
    for first, second in pairs:
        if all(second[1][name].shape == tensor.shape for name, tensor in first[1].items()):
            kept.append((first, second))
        else:
            notes.append(f"{first[0]} and {second[0]} have different widths, so there is no line between them")
    return kept


def _outputs(parents: Sequence[Parent], fused: FusedLike | None, data: Dataset, device: torch.device) -> Tensor:
    """(networks, N, ...) outputs of the parents, and of the fused network, the last, where there is one. Raises
    ParentError for networks whose numbers overflow: nothing about them could be told."""
    models, states = [parent.model for parent in parents], [parent.state for parent in parents]
    names = [parent.name for parent in parents]
    if fused is not None:
        models, states = [*models, module_for(parents, fused.state)], [*states, fused.state]
        names.append("the fused network")
    outputs = collect_outputs(models, states, data, device=device)
    for name, rows in zip(names, outputs, strict=True):
        if not bool(rows.isfinite().all()):
            raise ParentError(f"{name} does not give finite outputs on {data.name}: its weights are too large")
    return outputs


def _head(
    graph: Trace, parents: Sequence[Parent], fused: FusedLike, data: Dataset, seed: int, device: torch.device
) -> tuple[str, OutputWeights]:
    """How the recipe joins the parents' outputs: uniformly where its solver has no say in that. The scores it may need
    are read again, from the data at hand."""
    recipe = fused.recipe or Recipe()
    settings = check_parameters("solver", recipe.solver.method, recipe.solver.parameters)
    given = fused.recipe is not None and "head_weights" in settings
    rule: HeadWeights = settings["head_weights"] if given else "uniform"
    counts = [parent.metadata.class_counts for parent in parents]
    known = all(count is not None for count in counts)
    if rule == "class_share" and not known:
        raise FusionError(
            "the recipe weighs the parents by class counts, which are not known here; put the parents.json beside them"
        )
    step = recipe.importance if rule == "importance" else Step(method="uniform")
    sample = data
    if len(data) > _SCORED:
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        sample = data.subset(order[:_SCORED])
    states = [{name: tensor.to(device) for name, tensor in parent.state.items()} for parent in parents]
    inputs = Inputs(
        trace=graph, states=tuple(states), data=sample, importance=score_parents(graph, parents, states, sample, step),
        seed=seed, class_counts=np.array(counts) if known else None,
    )  # fmt: skip
    return rule, output_weights(inputs, rule)
