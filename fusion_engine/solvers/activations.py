"""Activations the least-squares solver walks through: kept while they fit in a byte budget, else computed again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.types import Layer, Level, State
from ..graph import Program
from ..stats import Moments, feature_rows
from ..stats.moments import GramAccumulator

__all__ = ["FusedPrefix", "ParentFeatures", "batch_size"]

_BATCH_BYTES = 96 * 2**20


def batch_size(context: FusionContext, layers: list[Layer]) -> int:
    """Samples a batch so that one model's layer outputs take about 96 MiB, at least 16."""
    probe = Program(context.trace, None, [layer.output for layer in layers])
    x = next(context.batches(2))
    with torch.inference_mode():
        outputs = probe(context.states[0], x)
    per_sample = sum(t.numel() * t.element_size() for t in outputs) / len(x)
    return max(16, min(1024, int(_BATCH_BYTES / max(per_sample, 1))))


class ParentFeatures:
    """Outputs of the parents' layers over the calibration samples, batch by batch.

    All layers in one pass of every parent if the result fits in `budget` bytes; otherwise one pass a layer.
    """

    def __init__(self, context: FusionContext, layers: list[Layer], size: int, budget: int) -> None:
        self._context, self._layers, self._size, self._budget = context, layers, size, budget
        self._kept: dict[str, list[list[Tensor]]] | None = None
        names = [layer.output for layer in layers]
        program = Program(context.trace, None, names)
        kept: dict[str, list[list[Tensor]]] = {name: [] for name in names}
        used, total = 0, len(context.data)
        seen = 0
        for x in context.batches(size):
            seen += len(x)
            columns = list(zip(*[program(state, x) for state in context.states], strict=True))
            for name, tensors in zip(names, columns, strict=True):
                kept[name].append(list(tensors))
                used += sum(t.numel() * t.element_size() for t in tensors)
            if not self._fits(used * total / seen):
                return
            context.progress("grouping", 0.5 * seen / total, "features of the parents")
        self._kept = kept

    def _fits(self, size: float) -> bool:
        return size <= self._budget

    def moments(self) -> dict[str, Moments] | None:
        """Joint moments of every space that one of the layers makes, from the kept outputs; None if not kept."""
        if self._kept is None:
            return None
        found = {}
        for done, layer in enumerate(self._layers):
            self._context.progress("grouping", 0.5 + 0.4 * done / len(self._layers), "moments of the features")
            feature = self._context.trace.spaces[layer.space].feature if layer.space is not None else None
            if layer.space is not None and feature is not None and feature.node == layer.output:
                gram: GramAccumulator | None = None
                for outputs in self._kept[layer.output]:
                    gram = gram or GramAccumulator(_channels(layer, outputs), precision="mixed")
                    if layer.kind == "conv":
                        gram.update_maps(torch.cat(outputs, 1).flatten(2))
                    else:
                        gram.update(torch.cat([feature_rows(layer, output) for output in outputs], 1))
                assert gram is not None
                found[layer.space] = Moments(gram.gram.cpu().numpy(), gram.mean.cpu().numpy(), gram.count)
        return found

    def release(self, layers: list[Layer]) -> None:
        """Let go of the kept outputs of layers that will not be read."""
        if self._kept is not None:
            for layer in layers:
                self._kept.pop(layer.output)

    def batches(self, layer: Layer) -> Iterator[list[Tensor]]:
        """Per batch the k parents' outputs of `layer`. Kept ones are released as they are read: one use only."""
        if self._kept is not None:
            batches = self._kept.pop(layer.output)
            while batches:
                yield batches.pop(0)
            return
        program = Program(self._context.trace, None, [layer.output])
        for x in self._context.batches(self._size):
            yield [program(state, x)[0] for state in self._context.states]


def _channels(layer: Layer, outputs: list[Tensor]) -> int:
    return sum(output.shape[1 if layer.kind == "conv" else -1] for output in outputs)


class FusedPrefix:
    """Inputs of the fused model's layers, level after level, with the weights solved so far."""

    def __init__(self, context: FusionContext, size: int, budget: int) -> None:
        self._context, self._size, self._budget = context, size, budget
        self._at: str | None = None
        self._kept: list[Tensor] | None = None

    def batches(self, state: State, layer: Layer) -> Iterator[Tensor]:
        """The tensor at `layer.input`, batch by batch."""
        source, tensors = self._source()
        if source == layer.input:
            yield from tensors
            return
        program = Program(self._context.trace, None if source is None else [source], [layer.input])
        for tensor in tensors:
            yield program(state, tensor)[0]

    def advance(self, state: State, level: Level) -> None:
        """Step over a solved level: keep its output if it fits in the budget, else go on from where we are."""
        if level.input != self._at and self._kept is not None:
            return
        source, tensors = self._source()
        program = Program(self._context.trace, None if source is None else [source], [level.output])
        kept: list[Tensor] = []
        used = 0
        total, seen = len(self._context.data), 0
        for tensor in tensors:
            kept.append(program(state, tensor)[0])
            seen += len(tensor)
            used += kept[-1].numel() * kept[-1].element_size()
            if not self._fits(used * total / max(seen, 1)):
                return
        self._at, self._kept = level.output, kept

    def _fits(self, size: float) -> bool:
        return size <= self._budget

    def _source(self) -> tuple[str | None, Iterator[Tensor]]:
        if self._kept is None:
            return None, self._context.batches(self._size)
        return self._at, iter(self._kept)
