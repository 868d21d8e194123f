"""Mean and variance of every channel of an activation, over samples and positions, batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ChannelMoments"]


class ChannelMoments:
    """Exact in float64 however the rows come in batches (Chan et al. 1983, pairwise update).

    count: rows so far. mean (channels,) float64.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self._squares = torch.zeros(0, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Add rows (n, channels)."""
        rows = rows.double()
        mean = rows.mean(0)
        squares = (rows - mean).square().sum(0)
        if not self.count:
            self.count, self.mean, self._squares = len(rows), mean, squares
            return
        total = self.count + len(rows)
        step = mean - self.mean
        self._squares = self._squares + squares + step.square() * (self.count * len(rows) / total)
        self.mean = self.mean + step * (len(rows) / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """(channels,) mean squared distance from the mean."""
        return self._squares / self.count

    @property
    def unbiased_variance(self) -> Tensor:
        """(channels,) the same over count - 1; not defined for a single row."""
        return self._squares / (self.count - 1)
