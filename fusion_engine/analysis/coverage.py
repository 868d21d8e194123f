"""Class coverage: which parent knows which classes, and what a fused network keeps of each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.errors import DataError
from ..data import Dataset
from ..evaluation import Evaluation, measure_rows, task_of
from ..tasks import Task

KNOWN = 0.5
"""A parent knows a class if it gets at least this share of its samples right."""


def coverage(
    names: Sequence[str],
    logits: Tensor,
    data: Dataset,
    class_counts: Sequence[Sequence[int] | None] | None = None,
    fused: Tensor | None = None,
) -> dict[str, Any]:
    """Coverage of k parents, as plain values: see docs/architecture.md.

    names: the parents'. logits: (k, N, ...) outputs. class_counts: a parent's training samples by class, where
    known. fused: (N, ...) outputs of a fused network; 'kept' is then the share of each parent's right answers that
    it gives too. Raises DataError without labels, and for labels that are no classes.
    """
    task = task_of(logits[0], data)
    if task.metric != "accuracy" or data.y is None:
        kind = "there are no labels" if data.y is None else f"the task is {task.name}"
        raise DataError(f"{data.name}: coverage is about classes, and {kind}")
    rows, wanted = _rows(task, logits, data)
    singles = [measure_rows(own, wanted, task) for own in rows]
    classes = range(task.classes)
    counts = class_counts or [None] * len(names)
    best: list[int | None] = []
    knowing: list[list[int]] = []
    for c in classes:
        scores = [single.per_class[c] for single in singles]
        known = [(score, -p) for p, score in enumerate(scores) if score is not None]
        best.append(-max(known)[1] if known else None)
        knowing.append([-p for score, p in known if score >= KNOWN])
    found: dict[str, Any] = {
        "threshold": KNOWN,
        "parents": [
            _scores(single, name=name) | {"class_counts": None if count is None else list(count)}
            for name, single, count in zip(names, singles, counts, strict=True)
        ],
        "best": best,
        "only": [who[0] if len(who) == 1 else None for who in knowing],
        "unknown": [c for c in classes if best[c] is not None and not knowing[c]],
        "fused": None,
    }
    if fused is not None:
        last = _rows(task, fused[None], data)[0][0]
        own = measure_rows(last, wanted, task)
        found["fused"] = _fused(own, last, rows, wanted, [[s.per_class[c] for s in singles] for c in classes])
    return found


def _rows(task: Task, outputs: Tensor, data: Dataset) -> tuple[Tensor, Tensor]:
    """(networks, rows, classes) of networks' outputs, and the labels of the rows."""
    pairs = [task.rows(own, data.x, data.y) for own in outputs]
    wanted = pairs[0][1]
    assert wanted is not None  # there are labels
    return torch.stack([rows for rows, _ in pairs]), wanted


def _fused(
    own: Evaluation, fused: Tensor, logits: Tensor, wanted: Tensor, scores: Sequence[Sequence[float | None]]
) -> dict[str, Any]:
    right = fused.argmax(1) == wanted
    kept = []
    for rows in logits:
        parent = rows.argmax(1) == wanted
        kept.append(float((right & parent).sum() / parent.sum()) if bool(parent.any()) else None)
    tops = [max((s for s in of_class if s is not None), default=None) for of_class in scores]
    both = zip(own.per_class, tops, strict=True)
    difference = [None if mine is None or top is None else mine - top for mine, top in both]
    return _scores(own) | {"difference": difference, "kept": kept}


def _scores(single: Evaluation, **about: Any) -> dict[str, Any]:
    return about | {"accuracy": single.accuracy, "per_class": list(single.per_class)}
