"""The parents' features, read in one pass for all who need them: kept while they fit in a budget, else read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.types import Site
from ..graph import Program, Trace
from ..stats import FeatureMoments, Moments, SharedStatistics, Wanted, read_moments, sample_bytes
from .inputs import Inputs

_BATCH_BYTES = 96 * 2**20
_FEW = 16  # samples that keep the processor busy


def batch_size(trace: Trace) -> int:
    """Samples a batch so that one model's layer outputs take about 96 MiB: at least 16, or as few as take twice that
    where one sample is large."""
    per_sample = sample_bytes(trace, [layer.output for layer in trace.layers.values()])
    return max(min(_FEW, max(1, 2 * _BATCH_BYTES // per_sample)), min(1024, _BATCH_BYTES // per_sample))


class ParentFeatures:
    """The parents' tensors at chosen nodes over the calibration samples, batch by batch, and joint moments of sites.

    One pass of every parent serves both if the tensors fit in `budget` bytes; otherwise the moments take a pass, and
    the nodes as few as keep to the budget.

    nodes: at which a solver will read, in this order. sites: where groupings see each space (none: no moments are
    wanted). judged: moments of the held-out samples are wanted apart as well.
    """

    def __init__(
        self,
        inputs: Inputs,
        nodes: Collection[str],
        budget: int,
        *,
        sites: Mapping[str, Sequence[Site]] | None = None,
        judged: bool = False,
    ) -> None:
        self._inputs, self._size, self._budget = inputs, batch_size(inputs.trace), budget
        self._nodes, self._sites = list(nodes), dict(sites or {})
        self._held = inputs.held_out if judged else None
        self._kept: dict[str, list[list[Tensor]]] | None = None
        self._done: set[str] = set()

    def moments(self, statistics: SharedStatistics, progress: Progress) -> dict[str, Moments]:
        """Joint moments of the sites, as other fusions know them or from a pass of the parents."""
        inputs, sites = self._inputs, self._sites
        asked = Wanted(inputs.trace, inputs.states, inputs.data, sites, self._size, self._held, points=True)
        if not self._nodes:
            return statistics.moments(asked, lambda gathered: self._read(gathered, progress))
        known = statistics.known_moments(asked)
        reading = [] if known is not None else [site.node for places in sites.values() for site in places]
        seconds = self.keep(progress.part(0.0, 0.5), reading)
        if known is not None:
            return known
        if self._kept is None:
            return statistics.moments(asked, lambda gathered: self._read(gathered, progress))
        found = statistics.moments(
            asked, lambda gathered: self._read_kept(gathered, progress.part(0.5, 0.9)), features=seconds
        )
        self._kept = {node: tensors for node, tensors in self._kept.items() if node in self._nodes}
        return found

    @torch.no_grad()
    def keep(self, progress: Progress, more: Collection[str] = ()) -> float:
        """Read the nodes, and `more` of them, in one pass and keep the tensors, if they fit. Returns the seconds."""
        names = list(dict.fromkeys([*self._nodes, *more]))
        if not names or not self._fits(self._bytes(names)):
            return 0.0
        inputs, began = self._inputs, time.perf_counter()
        program = Program(inputs.trace, None, names)
        kept: dict[str, list[list[Tensor]]] = {name: [] for name in names}
        used, seen, total = 0, 0, len(inputs.data)
        for x in inputs.batches(self._size):
            seen += len(x)
            columns = list(zip(*[program(state, x) for state in inputs.states], strict=True))
            for name, tensors in zip(names, columns, strict=True):
                kept[name].append(list(tensors))
                used += sum(t.numel() * t.element_size() for t in tensors)
            if not self._fits(used * total / seen):
                return 0.0
            progress.report(seen / total, "features of the parents")
        self._kept = kept
        return time.perf_counter() - began

    def batches(self, node: str, tick: Callable[[], None] = lambda: None) -> Iterator[list[Tensor]]:
        """Per batch the k parents' tensors at `node`. Kept ones are released as they are read; others are computed, and
        those of the nodes that come next with them, as many as fit in the budget. tick is called meanwhile and may
        raise."""
        self._done.add(node)
        if self._kept is None or node not in self._kept:
            self._read_ahead(node, tick)
        batches = None if self._kept is None else self._kept.pop(node, None)
        if batches is not None:
            while batches:
                yield batches.pop(0)
            return
        program = Program(self._inputs.trace, None, [node])
        for x in self._inputs.batches(self._size):
            yield [program(state, x)[0] for state in self._inputs.states]

    def again(self, inputs: Inputs) -> ParentFeatures:
        """The same nodes, none of them read yet; without moments."""
        return ParentFeatures(inputs, self._nodes, self._budget)

    def _fits(self, size: float) -> bool:
        return size <= self._budget

    def _bytes(self, nodes: Collection[str]) -> int:
        """What the parents' tensors at these nodes take, over all samples."""
        inputs = self._inputs
        return sample_bytes(inputs.trace, nodes) * len(inputs.data) * inputs.count

    def _read_ahead(self, node: str, tick: Callable[[], None]) -> None:
        """Keep the tensors at `node`, and at nodes after it that were not read yet, as many as fit in the budget."""
        kept = {} if self._kept is None else self._kept
        later = self._nodes[self._nodes.index(node) + 1 :] if node in self._nodes else []
        used = sum(self._bytes([name]) for name in [node, *kept])
        names = [node]
        for name in dict.fromkeys(later):
            if name not in kept and name not in self._done:
                used += self._bytes([name])
                if not self._fits(used):
                    break
                names.append(name)
        if len(names) == 1:
            return  # read as it is asked for
        program = Program(self._inputs.trace, None, names)
        found: dict[str, list[list[Tensor]]] = {name: [] for name in names}
        for x in self._inputs.batches(self._size):
            columns = zip(*[program(state, x) for state in self._inputs.states], strict=True)
            for name, tensors in zip(names, columns, strict=True):
                found[name].append(list(tensors))
            tick()
        self._kept = kept | found

    def _read(self, gathered: FeatureMoments, progress: Progress) -> None:
        """A pass of the parents for the moments alone."""
        inputs = self._inputs
        read_moments(
            gathered, inputs.trace, inputs.states, inputs.data, batch_size=self._size, progress=progress.part(0.0, 0.5),
            device=str(inputs.device), held_out=self._held,
        )  # fmt: skip

    def _read_kept(self, gathered: FeatureMoments, progress: Progress) -> None:
        """The moments from the kept tensors; what only they needed is let go of."""
        assert self._kept is not None
        inputs = self._inputs
        sizes = [len(x) for x in inputs.data.x.split(self._size)]
        counted = [None] * len(sizes) if inputs.counted is None else inputs.counted.split(sizes)
        held = [None] * len(sizes) if self._held is None else self._held.to(inputs.device).split(sizes)
        for node, _ in progress.each(gathered.nodes, lambda node: "moments of the features"):
            for tensors, mask, own in zip(self._kept[node], held, counted, strict=True):
                gathered.update(node, tensors, mask, own)
            if node not in self._nodes:
                self._kept.pop(node)
