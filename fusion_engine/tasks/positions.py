"""A class for every position: segmentation maps (n, classes, h, w), or tokens' logits (n, t, classes)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Task


@dataclass(frozen=True, eq=False)
class Positions(Task):
    """Labels are classes (n, ...) of the positions, IGNORED where none counts; masked tokens do not count either.
    dim: dimension of the outputs that runs over classes."""

    name: ClassVar[str] = "positions"
    dim: int = -1

    def logits(self, outputs: Tensor) -> Tensor:
        """Classes last."""
        return outputs.movedim(self.dim, -1)

    def seen(self, x: Tensor) -> Tensor | None:
        """The mask of tokens."""
        return self.data.counted(x) if self.data.tokens else None
