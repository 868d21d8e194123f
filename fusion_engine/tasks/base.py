"""What every task answers: where the logits are in a model's outputs, what is wanted of them, and what counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..data import IGNORED, Dataset


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """data: the samples that are predicted, for the names of their inputs. classes: logits, or values, of a position.
    why: a line that says by what it was told; '' for plain classification.

    `name` as in data.TASKS. `metric`: the figure that networks are compared by; `ascends`: whether more of it is
    better.
    """

    data: Dataset
    classes: int
    why: str = ""
    name: ClassVar[str]
    metric: ClassVar[str] = "accuracy"
    ascends: ClassVar[bool] = True

    @property
    def has_classes(self) -> bool:
        """Whether outputs are logits, so that their softmax is a prediction."""
        return True

    @abstractmethod
    def logits(self, outputs: Tensor) -> Tensor:
        """Logits (n, ..., classes) of a model's outputs (n, ...): one prediction for every position."""

    def spread(self, outputs: Tensor) -> Tensor:
        """Logits (..., classes) of the model's own outputs at each position (..., outputs)."""
        return outputs

    def outputs(self, logits: Tensor) -> Tensor:
        """The other way round: the model's own outputs (..., outputs) that have the logits (..., classes)."""
        return logits

    def channels(self, scores: Tensor) -> Tensor:
        """Scores of the model's own outputs (outputs,) from scores of the classes (classes,)."""
        return scores

    def labels(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """What is wanted of samples x with labels y: classes (n, ...) int64, IGNORED where none counts; or values
        (n, values). None without labels."""
        return y

    def seen(self, x: Tensor) -> Tensor | None:
        """(n, ...) bool: which predictions of samples x count; None if all do."""
        return None

    def rows(self, outputs: Tensor, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits (rows, classes) and what is wanted of them (rows,), of all predictions that count."""
        logits, wanted, seen = self.logits(outputs).flatten(0, -2), self.labels(x, y), self.seen(x)
        flat = None if wanted is None else wanted.flatten()
        kept = None if seen is None else seen.flatten()
        if flat is not None and bool((flat == IGNORED).any()):
            kept = flat != IGNORED if kept is None else kept & (flat != IGNORED)
        if kept is None:
            return logits, flat
        kept = kept.to(logits.device)
        return logits[kept], None if flat is None else flat[kept.to(flat.device)]

    def loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Mean loss of rows of logits: cross entropy in nats."""
        return torch.nn.functional.cross_entropy(logits, wanted)
