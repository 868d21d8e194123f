"""One class a sample: logits (n, classes)."""

from typing import ClassVar

from torch import Tensor

from .base import Task


class Classification(Task):
    """Labels are class numbers (n,)."""

    name: ClassVar[str] = "classification"

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs
