"""The models every fused network is compared with: its parents, their average, and their ensembles."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from ..data import Dataset, check_samples
from ..graph import average_state
from ..parents import Parent, module_for, same_widths
from ..tasks import Task
from .measures import Evaluation, collect_outputs, measure_rows, no_labels, task_of
from .predictions import Predictions, predictions


class About(TypedDict):
    """What outputs are for. name: classification, binary, positions, regression or language. metric: what networks are
    compared by: accuracy, r2 or perplexity. why: by what it was told, '' for plain classification."""

    name: str
    metric: str
    why: str


def ensembles(
    logits: Tensor, head_weights: Tensor | None = None, *, has_classes: bool = True
) -> dict[str, Tensor]:
    """Outputs (N, classes) of the ensembles of k parents' `logits` (k, N, classes).

    ensemble: mean of logits. softmax_ensemble: log of the mean of softmax probabilities; none of values, which
    `has_classes` False says. head_weighted_ensemble: sum of logits weighted per parent and class by `head_weights`
    (k, classes), where given.
    """
    k = len(logits)
    found = {"ensemble": logits.mean(0)}
    if has_classes:
        mixed = logits.double().log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(k)))
        found["softmax_ensemble"] = mixed
    if head_weights is not None:
        found["head_weighted_ensemble"] = (logits * head_weights.to(logits)[:, None]).sum(0)
    return found


def compare(
    parents: Sequence[Parent],
    fused: Mapping[str, Tensor] | None,
    data: Dataset,
    head_weights: Tensor | None = None,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    once: Callable[[Callable[[], Tensor]], Tensor] = lambda compute: compute(),
) -> dict[str, Any]:
    """Evaluations of parents, references and the fused state on `data`.

    head_weights (k, classes) adds the head-weighted ensemble. Parents of different widths have no 'average'. once:
    gives what computing the outputs of parents and average gives, which is the same for all fusions of the parents.
    Returns the report's plain values: 'parents' (a list; 'file' is the parent's name), 'best_parent', 'mean_parent',
    'average', 'ensemble', 'softmax_ensemble', 'head_weighted_ensemble', 'fused'; each with accuracy, loss, per_class,
    confusion ('mean_parent': accuracy and loss), or the figures of another task (`Evaluation`); 'task': what it is,
    see `about`; and 'test': how many samples they are of, and their digest. Raises DataError without labels that the
    parents can predict, and for samples that do not fit them.
    """
    return compared(parents, fused, data, head_weights, batch_size=batch_size, device=device, once=once)[0]


def compared(
    parents: Sequence[Parent],
    fused: Mapping[str, Tensor] | None,
    data: Dataset,
    head_weights: Tensor | None = None,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    once: Callable[[Callable[[], Tensor]], Tensor] = lambda compute: compute(),
) -> tuple[dict[str, Any], Predictions | None]:
    """As `compare`, and what each network says of every sample, by the report's names; None where that is not kept, see
    `predictions`."""
    check_samples(data, parents[0].classes, parents[0].input_shape)
    same_width = same_widths(parents)
    states = [parent.state for parent in parents]
    models = [parent.model for parent in parents]
    if same_width:
        states.append(average_state(states))
        models.append(module_for(parents, states[-1]))
    if data.y is None and not data.tokens:
        raise no_labels(data)
    outputs = once(lambda: collect_outputs(models, states, data, batch_size=batch_size, device=device))
    task = task_of(outputs[0], data)
    pairs = [task.rows(single, data.x, data.y) for single in outputs]
    logits, wanted = torch.stack([rows for rows, _ in pairs]), pairs[0][1]
    if wanted is None:
        raise no_labels(data)
    own = logits[: len(parents)]
    singles = [measure_rows(rows, wanted, task) for rows in own]
    best = max(range(len(singles)), key=lambda p: _merit(singles[p], task))
    named: dict[str, Evaluation] = {"average": measure_rows(logits[len(parents)], wanted, task)} if same_width else {}
    joined = ensembles(own, head_weights, has_classes=task.has_classes)
    named |= {name: measure_rows(rows, wanted, task) for name, rows in joined.items()}
    answers = {f"parents/{p}": rows for p, rows in enumerate(own)}
    answers |= ({"average": logits[len(parents)]} if same_width else {}) | joined
    if fused is not None:
        outputs = collect_outputs([module_for(parents, fused)], [fused], data, batch_size=batch_size, device=device)
        answers["fused"] = task_of(outputs[0], data).rows(outputs[0], data.x, data.y)[0]
        named["fused"] = measure_rows(answers["fused"], wanted, task)
    report: dict[str, Any] = {
        "parents": [{"file": p.name, **single.as_json()} for p, single in zip(parents, singles, strict=True)],
        "best_parent": {"file": parents[best].name, **singles[best].as_json()},
        "mean_parent": _mean(singles),
        **{name: evaluation.as_json() for name, evaluation in named.items()},
        "task": about(task),
        "test": {"name": data.name, "samples": len(data), "digest": data.digest},
    }
    return report, predictions(answers, wanted, len(data), task)


def about(task: Task) -> About:
    """What a report says of a task: its name, the metric that networks are compared by, and why it was taken."""
    return {"name": task.name, "metric": task.metric, "why": task.why}


def _merit(single: Evaluation, task: Task) -> float:
    """More is better."""
    if task.metric == "accuracy" and single.accuracy is not None:
        return single.accuracy
    return -single.loss


def _mean(singles: Sequence[Evaluation]) -> dict[str, float | None]:
    """The mean of each figure that all have."""
    found: dict[str, float | None] = {}
    for name in ("accuracy", "loss", "r2", "perplexity"):
        values = [getattr(single, name) for single in singles]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            found[name] = sum(known) / len(known)
    return {"accuracy": None, **found}
