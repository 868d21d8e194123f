"""Values to predict: outputs (n,) or (n, values), labels alike."""

from typing import ClassVar

import torch
from torch import Tensor

from .base import Task


class Regression(Task):
    """Loss: mean squared error. Metric: R2, 1 - error over variance, the mean over the values."""

    name: ClassVar[str] = "regression"
    metric: ClassVar[str] = "r2"

    @property
    def has_classes(self) -> bool:
        """Values have no softmax."""
        return False

    def logits(self, outputs: Tensor) -> Tensor:
        """The values, (n, values)."""
        return outputs.reshape(len(outputs), -1)

    def labels(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """(n, values)"""
        return None if y is None else y.reshape(len(y), -1)

    def rows(self, outputs: Tensor, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Values predicted and wanted, (n, values) both."""
        return self.logits(outputs), self.labels(x, y)

    def loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Mean squared error."""
        return torch.nn.functional.mse_loss(logits, wanted.to(logits))
