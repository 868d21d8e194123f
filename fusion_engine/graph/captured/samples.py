"""Where the samples lie in the tensors of a graph that was captured for one number of them.

Sizes do not tell: others may be as large. So the graph is run with random weights, and one sample is changed at a time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from .nodes import dependents, shape

__all__ = ["Samples", "find_samples"]


class Samples(NamedTuple):
    """Along dimension `dim` one sample follows the other, each with `entries` entries."""

    dim: int
    entries: int = 1


def find_samples(
    graph: fx.Graph, constants: Mapping[str, Tensor], inputs: Collection[str], batch: int
) -> dict[str, Samples | None]:
    """By the name of every node that depends on `inputs`, whose first dimension holds `batch` samples.

    None where samples do not stay apart, in order: mixed with each other, or with positions.
    """
    feed = _Feed(graph, constants, inputs, batch)
    names = dependents(graph, feed.batched)
    try:
        before, first, last = (_values(graph, tensors) for tensors in (feed.base, feed.changed(0), feed.changed(-1)))
    except (RuntimeError, ValueError, IndexError):  # random weights or inputs that this model cannot take
        return dict.fromkeys(names)
    return {
        name: _place(_differs(before[name], first[name]), _differs(before[name], last[name]), batch)
        for name in before
        if name in names
    }


class _Feed:
    """Random tensors for the placeholders of a graph: weights of a usual size, so that signals neither die nor grow."""

    def __init__(
        self, graph: fx.Graph, constants: Mapping[str, Tensor], inputs: Collection[str], batch: int
    ) -> None:
        self._random = torch.Generator().manual_seed(0)
        self.base: dict[str, Any] = {}
        self.batched: list[str] = []
        for node in (n for n in graph.nodes if n.op == "placeholder"):
            value, size = node.meta.get("val"), shape(node)
            if node.name in constants or size is None:
                self.base[node.name] = constants.get(node.name, value)
                continue
            self.base[node.name] = self._draw(size, value.dtype, node.name in inputs)
            if node.name in inputs and size and size[0] == batch:
                self.batched.append(node.name)

    def changed(self, sample: int) -> dict[str, Any]:
        """The tensors with another value of one sample."""
        tensors = dict(self.base)
        for name in self.batched:
            tensors[name] = tensors[name].clone()
            row = tensors[name][sample]
            row.copy_(self._draw(row.shape, row.dtype, True) if row.is_floating_point() else torch.tensor(1))
        return tensors

    def _draw(self, size: Sequence[int], dtype: torch.dtype, is_input: bool) -> Tensor:
        if not dtype.is_floating_point:
            return torch.zeros(size, dtype=dtype)
        if not is_input and len(size) < 2:  # biases, norm weights and variances
            return torch.rand(size, generator=self._random, dtype=dtype) + 0.5
        scale = 1.0 if is_input else (2 / max(math.prod(size[1:]), 1)) ** 0.5
        return scale * torch.randn(size, generator=self._random, dtype=dtype)


class _Recorder(fx.Interpreter):
    def __init__(self, graph: fx.Graph) -> None:
        super().__init__(nn.Module(), graph=graph)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.values[n.name] = value
        return value


def _values(graph: fx.Graph, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    recorder = _Recorder(graph)
    with torch.no_grad():
        recorder.run(*tensors.values())
    return recorder.values


def _differs(before: Tensor, after: Tensor) -> Tensor:
    return ~torch.isclose(before, after, rtol=0.0, atol=0.0, equal_nan=True)


def _place(first: Tensor, last: Tensor, batch: int) -> Samples | None:
    """The dimension along which the entries that go with the first sample are the first, and with the last the last."""
    places = []
    for dim, size in enumerate(first.shape if first.numel() else ()):
        starts, ends = (mask.movedim(dim, 0).reshape(size, -1).any(1).nonzero() for mask in (first, last))
        entries = size // batch
        if size % batch == 0 and len(starts) and len(ends) and starts.max() < entries and ends.min() >= size - entries:
            places.append(Samples(dim, entries))
    return min(places, key=lambda place: place.entries, default=None)
