"""What each network says of every test sample: kept beside a report, for what its totals do not tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..tasks import Task

_MOST = 2**23
"""Answers (networks x samples) that are kept at most: about 25 MB."""


@dataclass(frozen=True)
class Predictions:
    """Answers of m networks to N samples, in the data's order. networks: keys as in the report, 'parents/0',
    'ensemble', 'fused'. labels: (N,) int32. predicted: (m, N) int32, the class. confidence: (m, N) float16, its
    softmax probability."""

    networks: tuple[str, ...]
    labels: NDArray[Any]
    predicted: NDArray[Any]
    confidence: NDArray[Any]

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of predictions.npz."""
        return {
            "networks": np.array(self.networks), "labels": self.labels, "predicted": self.predicted,
            "confidence": self.confidence,
        }  # fmt: skip


def predictions(logits: Mapping[str, Tensor], wanted: Tensor, samples: int, task: Task) -> Predictions | None:
    """From logits (rows, classes) by network and the classes that are wanted (rows,). None where rows are no samples
    (positions, tokens) or outputs no classes, and for more answers than can be kept (8 million)."""
    if task.metric != "accuracy" or not task.has_classes or len(wanted) != samples or len(logits) * samples > _MOST:
        return None
    confidence, predicted = [], []
    for rows in logits.values():
        # As accuracy is measured: argmax of the logits themselves, whatever the softmax would round together.
        best = rows.argmax(1)
        picked = rows.double().log_softmax(1).gather(1, best[:, None])[:, 0].exp()
        predicted.append(best.to(torch.int32).numpy())
        confidence.append(picked.half().numpy())
    return Predictions(
        tuple(logits), wanted.to(torch.int32).numpy(), np.stack(predicted), np.stack(confidence)
    )
