"""What a level is trained on: samples and mixtures of them, the fused prefix, the parents' merged tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..context import FusionContext
from ..core.seeds import torch_generator
from ..core.types import Grouping, Level, State
from ..graph import Program, Trace, merge_activations
from ..graph.nodes import shape
from ..post.sampling import shifted
from .head import Head

__all__ = ["Goal", "Merged", "Pool", "Prefix", "draw_pool"]

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Pool:
    """Inputs x (n, ...); positions of those to train on, of the calibration samples among them, and of the samples
    to judge by."""

    x: Tensor
    train: Tensor
    samples: Tensor
    held: Tensor


def draw_pool(context: FusionContext, mixtures: int, shift: float = 0.0) -> Pool:
    """The calibration samples, and `mixtures` mixtures of pairs for every sample that is trained on.

    A mixture is lambda a + (1 - lambda) b with lambda uniform in [0, 1] (Zhang et al. 2018, alpha = 1); its targets
    are what the parents make of it. Mixtures of images are shifted, at most by `shift` of the side. Tokens are not
    mixed. Where nothing can be held out, all samples judge.
    """
    x = torch.cat(list(context.batches(1024)))
    held = context.held_out.to(x.device)
    if not bool(held.any()):
        held = torch.ones_like(held)
        train = torch.arange(len(x), device=x.device)
    else:
        train = (~held).nonzero()[:, 0]
    samples = train
    if mixtures and x.is_floating_point() and len(train) > 1:
        generator = torch_generator(context.seed, "gradient", "mixtures", device=context.device.type)
        count, device = mixtures * len(train), x.device
        first = train.repeat(mixtures)
        second = train[torch.randint(len(train), (count,), generator=generator, device=device)]
        share = torch.rand(count, generator=generator, device=device).reshape(-1, *[1] * (x.dim() - 1))
        train = torch.cat([train, torch.arange(len(x), len(x) + count, device=device)])
        made = x[second].lerp(x[first], share)
        x = torch.cat([x, shifted(made, shift, generator) if shift and x.dim() == 4 else made])
    return Pool(x, train, samples, held.nonzero()[:, 0])


@dataclass(frozen=True)
class Goal:
    """How the model's own output is judged. head: weights of the parents, None where the output is merged like any
    other node. temperature: of the distilled predictions, None for squared error."""

    head: Head | None
    temperature: float | None


class Merged:
    """The parents' merged tensors at chosen nodes over a pool: kept if they fit in `budget` bytes. Else those of the
    nodes asked for last, as far as they fit; a node too large by itself is computed again for the rows asked for."""

    def __init__(
        self,
        context: FusionContext,
        groupings: Mapping[str, Grouping],
        goal: Goal,
        x: Tensor,
        nodes: Sequence[str],
        *,
        size: int,
        budget: int,
        report: Report,
    ) -> None:
        self._context, self._groupings, self._goal, self._x = context, groupings, goal, x
        self._size, self._budget, self._report = size, budget, report
        self._programs: dict[str, Program] = {}
        self._kept: dict[str, Tensor] = {}
        self._too_large: set[str] = set()
        self._keep(nodes)

    def rows(self, node: str, index: Tensor) -> Tensor:
        """(rows, ...) merged tensor at `node` for the samples `index`. At the model's output, if it is distilled:
        the float64 probabilities of the parents' weighted ensemble."""
        if node not in self._kept and node not in self._too_large and len(index) > 1:  # one row is a look at the shape
            while self._kept and not self._keep([node]):
                self._kept.pop(next(iter(self._kept)))  # the oldest
            if node not in self._kept and not self._keep([node]):
                self._too_large.add(node)
        if node in self._kept:
            return self._kept[node][index]
        if node not in self._programs:
            self._programs[node] = Program(self._context.trace, None, [node])
        return self._compute(self._programs[node], [node], self._x[index])[0]

    def _keep(self, nodes: Sequence[str]) -> bool:
        """Compute and keep the nodes' tensors, if they fit beside what is kept."""
        program, x, size = Program(self._context.trace, None, nodes), self._x, self._size
        used = _bytes(list(self._kept.values()))
        made: dict[str, Tensor] = {}
        for start in range(0, len(x), size):
            self._report(start / len(x), "the parents' merged features")
            tensors = self._compute(program, nodes, x[start : start + size])
            if not made:
                if used + _bytes(tensors) * len(x) / len(tensors[0]) > self._budget:
                    return False
                made = {n: t.new_empty(len(x), *t.shape[1:]) for n, t in zip(nodes, tensors, strict=True)}
            for node, tensor in zip(nodes, tensors, strict=True):
                made[node][start : start + len(tensor)] = tensor
        self._kept.update(made)
        return True

    @torch.no_grad()
    def _compute(self, program: Program, nodes: Sequence[str], x: Tensor) -> list[Tensor]:
        trace, head = self._context.trace, self._goal.head
        columns = zip(*[program(state, x) for state in self._context.states], strict=True)
        merged = []
        for node, tensors in zip(nodes, columns, strict=True):
            if node != trace.output or head is None:
                merged.append(merge_activations(trace, self._groupings, node, tensors))
            elif self._goal.temperature is None:
                merged.append(head.target(tensors).float())
            else:
                merged.append(head.ensemble([t.double() for t in tensors], self._goal.temperature))
        return merged


class Prefix:
    """The fused model's tensor at a level's input, with the levels before it finished."""

    def __init__(self, trace: Trace, x: Tensor, *, size: int, budget: int) -> None:
        self._trace, self._x, self._size, self._budget = trace, x, size, budget
        self._at: str | None = None
        self._kept = x
        self._programs: dict[str, Program] = {}

    def rows(self, state: State, node: str | None, index: Tensor) -> Tensor:
        """The tensor at `node` (None: the model's input) for the samples `index`."""
        if node == self._at:
            return self._kept[index]
        if node is None:
            return self._x[index]
        if node not in self._programs:
            self._programs[node] = Program(self._trace, None if self._at is None else [self._at], [node])
        with torch.no_grad():
            return self._programs[node](state, self._kept[index])[0]

    def advance(self, level: Level, output: Callable[[Tensor], Tensor], report: Report) -> None:
        """Step over a finished level: keep its output if it fits in the budget, else go on from where we are.

        output: computes it for the samples of an index.
        """
        needed = 4 * math.prod((shape(self._trace.capture.node(level.output)) or (1,))[1:]) * len(self._x)
        if needed > self._budget:
            return
        parts = []
        for index in torch.arange(len(self._x), device=self._x.device).split(self._size):
            report(float(index[0]) / len(self._x), f"output of {level.name}")
            parts.append(output(index))
        self._at, self._kept = level.output, torch.cat(parts)
        self._programs.clear()


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
