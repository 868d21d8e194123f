"""What is fused from very few samples: the recipe's own network, the plain average, or the best parent.

A recipe that chooses by held-out samples has next to none of them then, and what it fits is fitted to noise. So it is
made several times without some of the samples, and judged on these beside what needs no samples at all.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..core.errors import FusionError
from ..core.progress import Progress
from ..core.recipe import Recipe
from ..core.seeds import numpy_generator
from ..core.types import Grouping, State
from ..data import Dataset
from ..evaluation import collect_outputs
from ..fusing import Inputs, RunLog
from ..graph import average_state
from ..grouping import Grouped, identity_grouping
from ..parents import module_for, same_widths
from ..stats import SharedStatistics
from ..tasks import Task
from .prepare import Prepared, score_parents

FEW: Final = 16  # samples below which a recipe is judged beside what needs none
_LEAST: Final = 4  # samples below which nothing can be judged
_FOLDS: Final = 5
_MARGIN: Final = 0.01  # of the loss of knowing nothing: by so much another network has to be better
_KEEP = f"give {FEW} samples or more to have the recipe's own network"

_BY_SCORES: Final = ("head_weights",)  # whose "auto" looks at scores and class counts, not at held-out samples

Make = Callable[[Prepared, RunLog], State]


@dataclass(frozen=True)
class _Candidate:
    """A network that needs no samples. what: how the report names it. parent: which one it is, None for the average."""

    what: str
    state: dict[str, Tensor]
    parent: int | None


def chooses(recipe: Recipe) -> bool:
    """Whether anything in the recipe is chosen by held-out samples: parameters that are 'auto' (but for head_weights, a
    rule of its own), and training."""
    steps = [recipe.grouping, recipe.solver, *recipe.post]
    settings = (value for s in steps for key, value in s.parameters.items() if key not in _BY_SCORES)
    return "gradients" in recipe.solving_needs or "auto" in (*(s.method for s in steps), *settings)


def judged_by_few(
    prepared: Prepared, grouped: Grouped, fused: dict[str, Tensor], make: Make, log: RunLog
) -> tuple[dict[str, Tensor], Grouped]:
    """The network that few samples speak for, with its groupings; what was taken is a note and a decision.

    Of 16 samples or more, of recipes that choose nothing by them, and of edits by hand nothing is judged. make: the
    state that a recipe gives, for a fusion from fewer samples. Networks are judged by 5-fold cross-validation (leaving
    one out of 5 samples or fewer): the loss on the labels, or without labels on what the parents' softmax ensemble
    predicts. The network with the smallest loss is taken, but the recipe's only where it is better than the average by
    two standard errors, and another only where it differs by more than 1 % of what knowing nothing would lose.
    """
    inputs, recipe = prepared.inputs, prepared.recipe
    samples = len(inputs.data)
    if samples >= FEW or inputs.count < 2 or recipe.edits or not chooses(recipe):
        return fused, grouped
    task = inputs.task
    if samples < _LEAST or task is None:
        why = "no task is known to judge networks by" if task is None else "too few even to compare networks by"
        log.note(
            f"undecided: from {samples} calibration samples, {why}, it cannot be told whether this network is better "
            f"than the plain average or the best parent; {_KEEP}"
        )
        return fused, grouped
    candidates = _candidates(prepared, fused)
    outputs = _outputs(prepared, inputs.states, inputs.data)
    judging = _labelled(outputs, inputs.data, task)
    others = _outputs(prepared, [c.state for c in candidates], inputs.data)
    losses = {c.what: _losses(o, judging, task) for c, o in zip(candidates, others, strict=True)}
    try:
        left_out = _left_out(prepared, make, log.progress)
    except FusionError as problem:
        log.note(
            f"undecided: of fewer than these {samples} calibration samples the recipe makes no network ({problem}), "
            "so it cannot be told whether this network is better than the plain average or the best parent; " + _KEEP
        )
        return fused, grouped
    own = _losses(left_out, judging, task)
    means = {"recipe": float(own.mean()), **{what: float(loss.mean()) for what, loss in losses.items()}}
    best = min(candidates, key=lambda c: means[c.what], default=None)
    scale = math.log(task.classes) if task.has_classes and task.classes > 1 else float(outputs.double().var())
    doubted = "average" in losses and not _clear(losses["average"] - own)
    taken = None
    if best is not None:
        gain = means["recipe"] - means[best.what]
        taken = best if gain > _MARGIN * scale or (doubted and gain < -_MARGIN * scale) else None
    log.decide(
        "few_samples",
        {"taken": "recipe" if taken is None else taken.what, "samples": samples, "cross_validated_loss": means},
    )
    log.note(_told(recipe.name, taken, means, judging is not inputs.data, samples))
    if taken is None:
        return fused, grouped
    return taken.state, _as_it_is(grouped, inputs, taken.parent)


def _candidates(prepared: Prepared, fused: State) -> list[_Candidate]:
    """The parents that are as wide as the fused network, and their average where all are."""
    parents, states = prepared.parents, prepared.inputs.states
    shapes = {name: tensor.shape for name, tensor in fused.items()}
    found = [
        _Candidate(parent.name, dict(state), p) for p, (parent, state) in enumerate(zip(parents, states, strict=True))
        if all(state[name].shape == shape for name, shape in shapes.items())
    ]  # fmt: skip
    if same_widths(parents) and len(found) == len(parents):
        found.insert(0, _Candidate("average", average_state(states), None))
    return found


def _outputs(prepared: Prepared, states: Sequence[State], data: Dataset) -> Tensor:
    """(states, samples, ...) outputs on the samples."""
    models = [module_for(prepared.parents, state) for state in states]
    return collect_outputs(models, states, data, device=prepared.inputs.device)


def _labelled(outputs: Tensor, data: Dataset, task: Task) -> Dataset:
    """The samples with labels: where they have none, the class that the parents' softmax ensemble names, or its mean
    of values. Its shares themselves would reward networks as unsure as parents that disagree are together."""
    if task.labels(data.x[:1], None if data.y is None else data.y[:1]) is not None:
        return data
    logits = torch.stack([task.logits(own).double() for own in outputs])
    named = logits.softmax(-1).mean(0).argmax(-1) if task.has_classes else logits.mean(0).float()
    return replace(data, y=named)


def _losses(outputs: Tensor, data: Dataset, task: Task) -> np.ndarray:
    """(samples,) mean loss of each sample's predictions (outputs (samples, ...))."""
    found = []
    for i in range(len(data)):
        y = None if data.y is None else data.y[i : i + 1]
        rows, wanted = task.rows(outputs[i : i + 1].double(), data.x[i : i + 1], y)
        assert wanted is not None
        found.append(float(task.loss(rows, wanted)))
    return np.array(found)


def _left_out(prepared: Prepared, make: Make, progress: Progress) -> Tensor:
    """(samples, ...) outputs on every sample of networks that were made without it."""
    inputs, data = prepared.inputs, prepared.inputs.data
    order = numpy_generator(inputs.seed, "few samples").permutation(len(data))
    found: dict[int, Tensor] = {}
    for fold, part in progress.each(np.array_split(order, min(_FOLDS, len(data)))):
        rest = np.setdiff1d(order, fold)
        quiet = RunLog(part.saying("judging by samples that were left out"))
        seen, out = data.subset(rest.tolist()), data.subset(fold.tolist())
        scores = score_parents(inputs.trace, prepared.parents, inputs.states, seen, prepared.recipe.importance)
        fewer = replace(prepared, inputs=replace(inputs, data=seen, importance=scores, resume=None))
        fewer = replace(fewer, statistics=SharedStatistics())
        outputs = _outputs(prepared, [make(fewer, quiet)], out)[0]
        found |= dict(zip(fold.tolist(), outputs, strict=True))
    return torch.stack([found[i] for i in range(len(data))])


def _clear(gains: np.ndarray) -> bool:
    """Whether these differences are above zero by two standard errors."""
    return bool(gains.mean() > 2 * gains.std() / math.sqrt(len(gains))) and bool(gains.any())


def _told(recipe: str, taken: _Candidate | None, means: Mapping[str, float], unlabelled: bool, samples: int) -> str:
    """What was taken and why."""
    what = f"{recipe}'s own network"
    if taken is not None:
        what = "the plain average" if taken.parent is None else f"the parent {taken.what} alone"
    measure = "loss on what the parents' ensemble predicts for" if unlabelled else "loss on"
    order = sorted(means, key=lambda name: means[name])
    figures = ", ".join(f"{recipe if name == 'recipe' else name} {means[name]:.3g}" for name in order)
    line = f"chosen by {samples} samples: the fused network is {what} ({measure} samples left out: {figures})"
    if taken is None:
        return line
    if means["recipe"] < means[taken.what]:
        line += f"; {recipe} is not better by more than chance, and {what} needs no samples"
    return f"{line}; {_KEEP}"


def _as_it_is(grouped: Grouped, inputs: Inputs, parent: int | None) -> Grouped:
    """Groupings of the plain average, or of one parent's neurons alone."""
    groupings = {}
    for name, space in inputs.trace.spaces.items():
        sizes = [inputs.sizes.get(name, space.size)] * inputs.count
        groupings[name] = identity_grouping(name, sizes, sizes[0])
        if parent is not None:
            groupings[name] = _alone(groupings[name], parent, sizes[0], inputs)
    return replace(grouped, groupings=groupings, late=frozenset(), features=None)


def _alone(grouping: Grouping, parent: int, size: int, inputs: Inputs) -> Grouping:
    """Neuron i of one parent is fused neuron i; those of the others go nowhere."""
    widths = [inputs.trace.fitting(state).spaces[grouping.space].size for state in inputs.states]
    facts: dict[str, Any] = {
        "merge": tuple(np.eye(size) if p == parent else np.zeros((size, n)) for p, n in enumerate(widths)),
        "unmerge": tuple(np.eye(size) if p == parent else np.zeros((n, size)) for p, n in enumerate(widths)),
        "labels": tuple(np.arange(size) if p == parent else np.full(n, -1) for p, n in enumerate(widths)),
    }
    return replace(grouping, method="parent", **facts)
