"""Activations the least-squares solver walks through: kept while they fit in a byte budget, else computed again."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from torch import Tensor

from ..context import FusionContext
from ..core.types import Layer, Level, State
from ..graph import Program
from ..stats import FeatureMoments, Moments, Wanted, grouping_sites, sample_bytes

__all__ = ["FusedPrefix", "ParentFeatures", "batch_size"]

_BATCH_BYTES = 96 * 2**20


def batch_size(context: FusionContext, layers: Sequence[Layer]) -> int:
    """Samples a batch so that one model's layer outputs take about 96 MiB, at least 16."""
    per_sample = sample_bytes(context.trace, [layer.output for layer in layers])
    return max(16, min(1024, _BATCH_BYTES // per_sample))


class ParentFeatures:
    """The parents' tensors at chosen nodes over the calibration samples, batch by batch.

    All nodes in one pass of every parent if the result fits in `budget` bytes; otherwise one pass a node. With
    `moments` the nodes at which groupings read features are among them.
    """

    def __init__(
        self,
        context: FusionContext,
        nodes: Collection[str],
        size: int,
        budget: int,
        *,
        moments: bool,
        judged: bool = False,
    ) -> None:
        self._context, self._size, self._budget = context, size, budget
        self._sites = grouping_sites(context.trace, context.features) if moments else {}
        self._held = context.held_out if judged else None  # their moments are wanted apart as well
        self._asked = Wanted(context.trace, context.states, context.data, self._sites, size, self._held)
        self._known = context.shared.known_moments(self._asked) if moments else None
        read = [site.node for places in self._sites.values() for site in places] if self._known is None else []
        self._wanted = set(nodes)
        self._kept: dict[str, list[list[Tensor]]] | None = None
        self._seconds = 0.0
        names = list(dict.fromkeys([*nodes, *read]))
        if not names:
            return
        program = Program(context.trace, None, names)
        kept: dict[str, list[list[Tensor]]] = {name: [] for name in names}
        used, total = 0, len(context.data)
        seen, began = 0, time.perf_counter()
        for x in context.batches(size):
            seen += len(x)
            columns = list(zip(*[program(state, x) for state in context.states], strict=True))
            for name, tensors in zip(names, columns, strict=True):
                kept[name].append(list(tensors))
                used += sum(t.numel() * t.element_size() for t in tensors)
            if not self._fits(used * total / seen):
                return
            context.progress("grouping", 0.5 * seen / total, "features of the parents")
        self._kept, self._seconds = kept, time.perf_counter() - began

    def _fits(self, size: float) -> bool:
        return size <= self._budget

    def moments(self) -> dict[str, Moments] | None:
        """Joint moments of `grouping_sites` from the kept tensors; None if they were not kept. What only they needed
        is let go of."""
        if self._known is not None:
            return self._known
        if self._kept is None or not self._sites:
            return None
        found = self._context.shared.moments(self._asked, self._read_kept, features=self._seconds)
        self._kept = {node: tensors for node, tensors in self._kept.items() if node in self._wanted}
        return found

    def _read_kept(self, gathered: FeatureMoments) -> None:
        assert self._kept is not None
        nodes = gathered.nodes
        sizes = [len(x) for x in self._context.data.x.split(self._size)]
        held = [None] * len(sizes) if self._held is None else self._held.to(self._context.device).split(sizes)
        for done, node in enumerate(nodes):
            self._context.progress("grouping", 0.5 + 0.4 * done / len(nodes), "moments of the features")
            for tensors, mask in zip(self._kept[node], held, strict=True):
                gathered.update(node, tensors, mask)
            if node not in self._wanted:
                self._kept.pop(node)

    def batches(self, node: str) -> Iterator[list[Tensor]]:
        """Per batch the k parents' tensors at `node`. Kept ones are released as they are read: one use only."""
        if self._kept is not None:
            batches = self._kept.pop(node)
            while batches:
                yield batches.pop(0)
            return
        program = Program(self._context.trace, None, [node])
        for x in self._context.batches(self._size):
            yield [program(state, x)[0] for state in self._context.states]


class FusedPrefix:
    """Tensors inside the fused model, level after level, with the weights solved so far."""

    def __init__(self, context: FusionContext, size: int, budget: int) -> None:
        self._context, self._size, self._budget = context, size, budget
        self._at: str | None = None
        self._kept: list[Tensor] | None = None

    def batches(self, state: State, nodes: Sequence[str]) -> Iterator[tuple[Tensor, ...]]:
        """The tensors at `nodes`, batch by batch."""
        source, tensors = self._source()
        if list(nodes) == [source]:
            for tensor in tensors:
                yield (tensor,)
            return
        program = Program(self._context.trace, None if source is None else [source], nodes)
        for tensor in tensors:
            yield program(state, tensor)

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
