"""Accuracy, loss and confusion of a model's outputs, or what takes their place in other tasks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import DataError
from ..data import IGNORED, Dataset
from ..graph.captured.capture import eval_mode
from ..tasks import Task, required_task

_MOST_CLASSES = 1000  # of a confusion matrix


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on labelled data.

    accuracy in [0, 1], over all positions that count; None for regression. loss: mean cross entropy in nats, or mean
    squared error. per_class: accuracy of each class, None where the data has no sample of it; empty where outputs are
    no classes, or tokens. confusion[true][predicted]: counts; empty as per_class, and of more than 1,000 classes. r2:
    of regression. perplexity: of next tokens, exp(loss).
    """

    accuracy: float | None
    loss: float
    per_class: tuple[float | None, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    r2: float | None = None
    perplexity: float | None = None

    @property
    def metric(self) -> str:
        """The name of the figure that networks are compared by."""
        return "r2" if self.r2 is not None else "perplexity" if self.perplexity is not None else "accuracy"

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports; r2 and perplexity where there are."""
        plain = vars(self) | {"per_class": list(self.per_class), "confusion": [list(row) for row in self.confusion]}
        return {k: v for k, v in plain.items() if v is not None or k not in ("r2", "perplexity")}


def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    data: Dataset,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Evaluate `model` on labelled data with the weights `state` (None: its own). Raises DataError without labels that
    it can predict."""
    return measure(collect_outputs([model], [state], data, batch_size=batch_size, device=device)[0], data)


def collect_outputs(
    models: Sequence[nn.Module],
    states: Sequence[Mapping[str, Tensor] | None],
    data: Dataset,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Outputs (len(states), N, ...) float32 on the CPU, in one pass over the data; eval mode, no gradients.

    models: a module for each state (None: the module's own weights), which may be the same one.
    """
    placed = [
        {name: t.to(device) for name, t in {**model.state_dict(), **(state or {})}.items()}
        for model, state in zip(models, states, strict=True)
    ]
    parts = []
    with torch.inference_mode(), eval_mode(*models):
        for x, _ in data.batches(batch_size):
            x = x.to(device)
            pairs = zip(models, placed, strict=True)
            # Every name has its own tensor, those of tied weights too.
            outputs = [functional_call(m, state, (x,), tie_weights=False) for m, state in pairs]
            parts.append(torch.stack([output.float().cpu() for output in outputs]))
    return torch.cat(parts, dim=1)


def collect_logits(
    models: Sequence[nn.Module],
    states: Sequence[Mapping[str, Tensor] | None],
    data: Dataset,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Logits (len(states), rows, classes), or values, of all predictions that count: a row a sample, or a position.
    See `collect_outputs`. Raises DataError for labels that such outputs cannot predict."""
    outputs = collect_outputs(models, states, data, batch_size=batch_size, device=device)
    task = task_of(outputs[0], data)
    return torch.stack([task.rows(own, data.x, data.y)[0] for own in outputs])


def task_of(outputs: Tensor, data: Dataset) -> Task:
    """The task of a model with outputs (N, ...) on the data. Raises DataError where the labels do not go with them."""
    return required_task(data, tuple(outputs.shape[1:]))


def measure(outputs: Tensor, data: Dataset) -> Evaluation:
    """Evaluation of outputs (N, ...): logits, log probabilities or values. Raises DataError without matching labels."""
    if data.y is None and not data.tokens:
        raise no_labels(data)
    task = task_of(outputs, data)
    logits, wanted = task.rows(outputs, data.x, data.y)
    if wanted is None:
        raise no_labels(data)
    return measure_rows(logits, wanted, task)


def measure_logits(logits: Tensor, data: Dataset, task: Task) -> Evaluation:
    """Evaluation of `task.logits` (N, ..., classes) of labelled data's outputs."""
    wanted = task.labels(data.x, data.y)
    if wanted is None:
        raise no_labels(data)
    seen = task.seen(data.x)
    kept = wanted != IGNORED if seen is None else seen & (wanted != IGNORED)
    if logits.dim() == 2:
        return measure_rows(logits, wanted, task)
    return measure_rows(logits[kept], wanted[kept], task)


def no_labels(data: Dataset) -> DataError:
    """For data that lacks the labels that evaluating needs."""
    return DataError(f"{data.name}: there are no labels, and evaluating needs them (add an array y)")


def measure_rows(logits: Tensor, wanted: Tensor, task: Task) -> Evaluation:
    """Evaluation of logits (rows, classes) by what is wanted of them (rows,)."""
    if not task.has_classes:
        error, spread = (logits.double() - wanted).square().mean(0), wanted.double().var(0, correction=0)
        r2 = (1 - error / spread.clamp_min(torch.finfo(torch.float64).tiny)).mean()
        return Evaluation(None, float(error.mean()), r2=float(r2.clamp_min(-1e6)))
    classes, predicted = logits.shape[1], logits.argmax(dim=1)
    loss = float(torch.nn.functional.cross_entropy(logits.double(), wanted))
    if task.metric == "perplexity":
        hits = int((predicted == wanted).sum())
        return Evaluation(hits / len(wanted), loss, perplexity=math.exp(min(loss, 700.0)))
    totals = torch.bincount(wanted, minlength=classes)
    right = torch.bincount(wanted[predicted == wanted], minlength=classes)
    confusion = torch.zeros(0, 0, dtype=torch.int64)
    if classes <= _MOST_CLASSES:
        confusion = torch.bincount(wanted * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return Evaluation(
        accuracy=int(right.sum()) / len(wanted),
        loss=loss,
        per_class=tuple(h / t if t else None for h, t in zip(right.tolist(), totals.tolist(), strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
