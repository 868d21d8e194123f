"""Mean and variance of every channel of an activation, over samples and positions, batch by batch and node by node."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..core.types import State
from ..fusing import FusedPrefix, Inputs, RunLog, batch_size
from ..stats import counted_rows

_BUDGET = 512 * 2**20


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


def channel_rows(inputs: Inputs, node: str, y: Tensor, dim: int, first: int) -> Tensor:
    """(rows, channels) of the tensor y at a node, channels along `dim`: of samples and positions that count. first:
    number of the batch's first sample."""
    rows, counted = y.movedim(dim, -1).reshape(-1, y.shape[dim]), inputs.counted
    if counted is None:
        return rows
    own = counted[first : first + batch_size(inputs.trace)]
    kept = counted_rows(inputs.trace, node, own, y.shape, (dim,))
    return rows if kept is None else rows[kept.to(rows.device)]


def channels_in_turn(
    inputs: Inputs, state: State, places: Mapping[str, tuple[str, int]], log: RunLog, step: str, begin: float = 0.0
) -> Iterator[tuple[str, ChannelMoments]]:
    """The channels' moments at one node of the fused network after the other, in the order of the levels.

    places: name of a tensor that one level alone uses -> a node in that level, and the dimension of its channels.
    What the caller changes in `state` between two of them counts from the next on. begin: share of the step that is
    done before.
    """
    left = dict(places)
    prefix = FusedPrefix(inputs, batch_size(inputs.trace), _BUDGET)
    for level in inputs.trace.levels:
        for name in [tensor for tensor in left if tensor in level.tensors]:
            done, (node, dim), moments = 1 - len(left) / len(places), left.pop(name), ChannelMoments()
            first = 0
            for (y,) in prefix.batches(state, [node]):
                moments.add(channel_rows(inputs, node, y, dim, first))
                first += batch_size(inputs.trace)
                log.progress.report(begin + (1 - begin) * done, f"{step}: {name.rpartition('.')[0]}")
            yield name, moments
        if not left:
            return
        prefix.advance(state, level)
