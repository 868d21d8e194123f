"""Where the samples lie in the tensors of a graph that was captured for one number of them.

Sizes do not tell: others may be as large. So the graph is run with random weights, and one sample is changed at a time.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from .nodes import dependents, shape


class Samples(NamedTuple):
    """Along dimension `dim` one sample follows the other, each with `entries` entries (windows, frames, heads), `outer`
    times over (views that were put one behind the other)."""

    dim: int
    entries: int = 1
    outer: int = 1

    def apart(self, tensor: Tensor) -> Tensor:
        """A view of the tensor with (outer, samples, entries) in place of the dimension."""
        split: Tensor = tensor.unflatten(self.dim, (self.outer, -1, self.entries))
        return split

    def joined(self, tensor: Tensor) -> Tensor:
        """`apart` undone."""
        return tensor.flatten(self.dim, self.dim + 2)

    def first(self, tensor: Tensor) -> Tensor:
        """The tensor with samples as its first dimension; their entries stay where they are."""
        if self.entries == self.outer == 1:
            return tensor.movedim(self.dim, 0)
        split = self.apart(tensor).movedim(self.dim + 1, 0)
        return split.flatten(self.dim + 1, self.dim + 2)

    def spread(self, values: Tensor) -> Tensor:
        """One value a sample (samples,) -> one an entry along the dimension."""
        return values.repeat_interleave(self.entries).repeat(self.outer) if self.entries * self.outer > 1 else values


def find_samples(
    graph: fx.Graph, constants: Mapping[str, Tensor], inputs: Collection[str], batch: int
) -> dict[str, Samples | None]:
    """By the name of every node that depends on `inputs`, whose first dimension holds `batch` samples.

    None where samples do not stay apart, in order: mixed with each other, or with positions.
    """
    random = torch.Generator().manual_seed(0)

    def draw(size: Sequence[int], dtype: torch.dtype, is_input: bool) -> Tensor:
        """Inputs, or weights of a usual size, so that signals neither die nor grow."""
        if not dtype.is_floating_point:
            return torch.zeros(size, dtype=dtype)
        if not is_input and len(size) < 2:  # biases, norm weights and variances
            return torch.rand(size, generator=random, dtype=dtype) + 0.5
        scale = 1.0 if is_input else (2 / max(math.prod(size[1:]), 1)) ** 0.5
        return scale * torch.randn(size, generator=random, dtype=dtype)

    feed: dict[str, Any] = {}
    batched = []
    for node in (n for n in graph.nodes if n.op == "placeholder"):
        value, size = node.meta.get("val"), shape(node)
        if node.name in constants or size is None:
            feed[node.name] = constants.get(node.name, value)
            continue
        feed[node.name] = draw(size, value.dtype, node.name in inputs)
        if node.name in inputs and size and size[0] == batch:
            batched.append(node.name)

    def values(sample: int | None = None) -> dict[str, Tensor]:
        """Of all nodes; with another value of one sample."""
        changed = dict(feed)
        for name in batched if sample is not None else ():
            changed[name] = changed[name].clone()
            row = changed[name][sample]
            row.copy_(draw(row.shape, row.dtype, True) if row.is_floating_point() else torch.tensor(1))
        recorder = _Recorder(graph)
        recorder.run(*changed.values())
        return recorder.values

    names = dependents(graph, batched)
    try:
        with torch.no_grad():
            before, first, last = values(), values(0), values(-1)
    except (RuntimeError, ValueError, IndexError):  # random weights or inputs that this model cannot take
        return dict.fromkeys(names)
    return {
        name: _place(_differs(value, first[name]), _differs(value, last[name]), batch)
        for name, value in before.items()
        if name in names
    }


class _Recorder(fx.Interpreter):
    """Keeps the tensors at all nodes."""

    def __init__(self, graph: fx.Graph) -> None:
        super().__init__(nn.Module(), graph=graph)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.values[n.name] = value
        return value


def _differs(before: Tensor, after: Tensor) -> Tensor:
    return ~torch.isclose(before, after, rtol=0.0, atol=0.0, equal_nan=True)


def _place(first: Tensor, last: Tensor, batch: int) -> Samples | None:
    """The dimension along which the entries that go with the first sample are where first ones would be, and with the
    last where last ones would."""
    places = []
    for dim, size in enumerate(first.shape if first.numel() else ()):
        starts, ends = (mask.movedim(dim, 0).reshape(size, -1).any(1).nonzero() for mask in (first, last))
        if size % batch or not len(starts) or not len(ends):
            continue
        for entries in (e for e in range(1, size // batch + 1) if size // batch % e == 0):
            if bool((starts // entries % batch == 0).all()) and bool((ends // entries % batch == batch - 1).all()):
                places.append(Samples(dim, entries, size // batch // entries))
    return min(places, key=lambda place: (place.outer, place.entries), default=None)
