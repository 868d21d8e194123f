"""Accuracy, loss and confusion of a model's outputs, and how outputs are collected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.errors import DataError
from ..data import Dataset
from ..graph.captured.capture import eval_mode


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on labelled data.

    accuracy in [0, 1]. loss: mean cross entropy in nats. per_class: accuracy of each class, None where the data has
    no sample of it. confusion[true][predicted]: counts.
    """

    accuracy: float
    loss: float
    per_class: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        return vars(self) | {"per_class": list(self.per_class), "confusion": [list(row) for row in self.confusion]}


def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor] | None,
    data: Dataset,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Evaluate `model` on labelled data with the weights `state` (None: its own). Raises DataError without labels."""
    return measure(collect_logits([model], [state], data, batch_size=batch_size, device=device)[0], data)


def collect_logits(
    models: Sequence[nn.Module],
    states: Sequence[Mapping[str, Tensor] | None],
    data: Dataset,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Outputs (len(states), N, classes) float32 on the CPU, in one pass over the data; eval mode, no gradients.

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
            parts.append(torch.stack([functional_call(m, state, (x,)).float().cpu() for m, state in pairs]))
    return torch.cat(parts, dim=1)


def measure(logits: Tensor, data: Dataset) -> Evaluation:
    """Evaluation of outputs (N, classes): logits, or log probabilities. Raises DataError without matching labels."""
    if data.y is None:
        raise DataError(f"{data.name}: there are no labels, and evaluating needs them (add an array y)")
    classes = logits.shape[1]
    if data.classes > classes:
        raise DataError(f"{data.name}: the labels go up to {data.classes - 1}, but the model knows {classes} classes")
    predicted = logits.argmax(dim=1)
    confusion = torch.bincount(data.y * classes + predicted, minlength=classes**2).reshape(classes, classes)
    totals, hits = confusion.sum(dim=1).tolist(), confusion.diagonal().tolist()
    return Evaluation(
        accuracy=sum(hits) / len(data),
        loss=float(torch.nn.functional.cross_entropy(logits.double(), data.y)),
        per_class=tuple(hit / total if total else None for hit, total in zip(hits, totals, strict=True)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
