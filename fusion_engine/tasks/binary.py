"""Two classes told by one output z, (n,) or (n, 1): class 1 has the probability sigmoid(z)."""

from typing import ClassVar

import torch
from torch import Tensor

from .base import Task


class Binary(Task):
    """Labels are 0 and 1. The logits -z/2 and z/2 have sigmoid(z) as their softmax."""

    name: ClassVar[str] = "binary"

    def logits(self, outputs: Tensor) -> Tensor:
        """(n, 2)"""
        return self.spread(outputs.reshape(len(outputs), 1))

    def spread(self, outputs: Tensor) -> Tensor:
        """(..., 2)"""
        return torch.cat([-outputs / 2, outputs / 2], -1)

    def outputs(self, logits: Tensor) -> Tensor:
        """(..., 1)"""
        return logits[..., 1:] - logits[..., :1]

    def channels(self, scores: Tensor) -> Tensor:
        """The sum: both classes hang on the one output."""
        return scores.sum(0, keepdim=True)
