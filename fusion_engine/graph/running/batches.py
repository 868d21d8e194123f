"""Any number of samples through a graph that takes a fixed number at a time."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from fusion_engine.core.errors import UnsupportedModelError

from ..captured.capture import Capture
from ..captured.nodes import shape
from ..captured.samples import Samples


def fits_traced_batch(capture: Capture, fed: Sequence[str], tensors: Sequence[Tensor]) -> bool:
    """Whether the graph takes as many samples as `tensors`, fed at the nodes `fed`, hold."""
    if capture.dynamic or not capture.batch:
        return True
    places = [(capture.place(name), shape(capture.node(name)) or ()) for name in fed]
    return all(
        tensor.shape[place.dim] == traced[place.dim] if place else tuple(tensor.shape) == traced
        for tensor, (place, traced) in zip(tensors, places, strict=True)
        if tensor.dim()
    )


class _Batches(tuple[Any, ...]):
    """The values of a node, one a batch."""


class InBatches(fx.Interpreter):
    """Runs a part of a captured graph on batches of `capture.batch` samples; the last one repeats a sample and is cut.

    All batches go from node to node together. At nodes that are returned they are one tensor in between, so that what
    comes after depends on it, as where the graph takes all samples at once: it has derivatives by what is returned.

    tensors: all samples at the nodes `fed`. Raises UnsupportedModelError where samples do not stay apart at a node that
    is fed or returned.
    """

    def __init__(
        self,
        capture: Capture,
        module: fx.GraphModule,
        fed: Sequence[str],
        outputs: Sequence[str],
        tensors: Sequence[Tensor],
    ) -> None:
        super().__init__(module)
        size, strands = capture.batch, capture.strands
        places = [capture.place(name) for name in fed]
        placed = [(t, p) for t, p in zip(tensors, places, strict=True) if p is not None]
        totals = [t.shape[p.dim] // (p.entries * p.outer) for t, p in placed]
        total = totals[0] if totals else len(tensors[0])
        mixed = [name for name in (*fed, *outputs) if name in capture.samples and capture.place(name) is None]
        if mixed or size % strands or total % strands:
            why = f"samples do not stay apart at {mixed[0]!r}" if mixed else f"{strands} samples go together"
            raise UnsupportedModelError(
                f"the model's forward fixes the batch size: it was traced with {size} samples and got {total}, and "
                f"cannot take them {size} by {size}, since {why}; use x.shape[0] instead of a number in its views"
            )
        # Every batch holds a stretch of each strand; `_back` is where the samples are in the batches.
        step, columns = size // strands, total // strands
        column = torch.arange(-(-columns // step) * step).clamp_max(columns - 1).reshape(-1, 1, step)
        self._size, self._taken = size, (column + columns * torch.arange(strands)[:, None]).flatten()
        strand, column = torch.arange(total) // columns, torch.arange(total) % columns
        self._back = column // step * size + strand * step + column % step
        self._returned: list[fx.Node] = list(next(n for n in module.graph.nodes if n.op == "output").args[0])
        self._places = dict(zip(self._returned, map(capture.place, outputs), strict=True))
        self._whole: dict[fx.Node, Tensor] = {}
        self._tensors = [t if p is None else self._cut(t, p) for t, p in zip(tensors, places, strict=True)]

    def results(self, *rest: Tensor) -> tuple[Tensor, ...]:
        """All samples at the returned nodes. rest: values of the graph's other placeholders."""
        values = self.run(*self._tensors, *rest)
        return tuple(self._whole.get(n, value) for n, value in zip(self._returned, values, strict=True))

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node, or its values in all batches."""
        value = super().run_node(n)
        place = self._places.get(n)
        if place is None or not isinstance(value, _Batches):
            return value
        if place.outer > 1:
            self._whole[n] = place.joined(torch.cat([place.apart(v) for v in value], place.dim + 1))
        else:
            self._whole[n] = torch.cat(value, place.dim)
        self._whole[n] = _select(self._whole[n], place, self._back)
        return self._cut(self._whole[n], place)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator, once a batch where its arguments differ between batches."""
        leaves, form = pytree.tree_flatten((args, kwargs), is_leaf=lambda x: isinstance(x, _Batches))
        count = max((len(x) for x in leaves if isinstance(x, _Batches)), default=0)
        if not count:
            return target(*args, **kwargs)
        values = []
        for i in range(count):
            part, named = pytree.tree_unflatten([x[i] if isinstance(x, _Batches) else x for x in leaves], form)
            values.append(target(*part, **named))
        return _Batches(values)

    def _cut(self, tensor: Tensor, place: Samples) -> _Batches:
        taken = _select(tensor, place, self._taken)
        if place.outer > 1:
            return _Batches(map(place.joined, place.apart(taken).split(self._size, place.dim + 1)))
        return _Batches(taken.split(self._size * place.entries, place.dim))


def _select(tensor: Tensor, place: Samples, samples: Tensor) -> Tensor:
    """The tensor of these samples."""
    if place.outer > 1:
        return place.joined(place.apart(tensor).index_select(place.dim + 1, samples.to(tensor.device)))
    entries = samples[:, None] * place.entries + torch.arange(place.entries)
    return tensor.index_select(place.dim, entries.flatten().to(tensor.device))
