"""What a level is trained on: samples and mixtures of them, the fused prefix, the parents' merged tensors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.progress import Progress
from ...core.seeds import torch_generator
from ...core.types import Grouping, Level, State
from ...fusing import Inputs, OutputWeights
from ...fusing.sampling import shifted
from ...graph import Program, Trace, merge_activations, shape


@dataclass(frozen=True)
class Pool:
    """Inputs x (n, ...); positions of those to train on, of the calibration samples among them, and of the samples
    to judge by."""

    x: Tensor
    train: Tensor
    samples: Tensor
    held: Tensor


def draw_pool(inputs: Inputs, mixtures: int, shift: float = 0.0) -> Pool:
    """The calibration samples, and `mixtures` mixtures of pairs for every sample that is trained on.

    A mixture is lambda a + (1 - lambda) b with lambda uniform in [0, 1] (Zhang et al. 2018, alpha = 1); its targets
    are what the parents make of it. Mixtures of images are shifted, at most by `shift` of the side. Tokens are not
    mixed. Where nothing can be held out, all samples judge.
    """
    x = torch.cat(list(inputs.batches(1024)))
    held = inputs.held_out.to(x.device)
    if not bool(held.any()):
        held = torch.ones_like(held)
        train = torch.arange(len(x), device=x.device)
    else:
        train = (~held).nonzero()[:, 0]
    samples = train
    if mixtures and x.is_floating_point() and len(train) > 1:
        generator = torch_generator(inputs.seed, "gradient", "mixtures", device=inputs.device.type)
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

    head: OutputWeights | None
    temperature: float | None


class Merged:
    """The parents' merged tensors at chosen nodes over a pool.

    They are kept if they fit in `budget` bytes. If not, the first of `nodes` are, and of the others those asked for
    last, as far as they fit; a node too large by itself is computed again for the rows asked for.
    """

    def __init__(
        self,
        inputs: Inputs,
        groupings: Mapping[str, Grouping],
        goal: Goal,
        x: Tensor,
        nodes: Sequence[str],
        *,
        size: int,
        budget: int,
        progress: Progress,
    ) -> None:
        self._inputs, self._groupings, self._goal, self._x = inputs, groupings, goal, x
        self._size, self._progress = size, progress
        self._programs: dict[str, Program] = {}
        row = self._compute(Program(inputs.trace, None, nodes), nodes, x[:1])
        self._bytes = {n: t.numel() * t.element_size() * len(x) for n, t in zip(nodes, row, strict=True)}
        total, largest = sum(self._bytes.values()), max(self._bytes.values())
        self._room = budget
        lasting = []
        for node in nodes:
            if self._bytes[node] <= self._room - (0 if total <= budget else largest):
                lasting.append(node)
                self._room -= self._bytes[node]
        self._kept = self._made(lasting) if lasting else {}
        self._passing: dict[str, Tensor] = {}

    def rows(self, node: str, index: Tensor) -> Tensor:
        """(rows, ...) merged tensor at `node` for the samples `index`. At the model's output, if it is distilled:
        the float64 probabilities of the parents' weighted ensemble."""
        if node in self._kept:
            return self._kept[node][index]
        fits = self._bytes[node] <= self._room
        if node not in self._passing and fits and len(index) > 1:  # one row is a look at the shape
            while sum(self._bytes[n] for n in (node, *self._passing)) > self._room:
                self._passing.pop(next(iter(self._passing)))  # the oldest
            self._passing |= self._made([node])
        if node in self._passing:
            return self._passing[node][index]
        if node not in self._programs:
            self._programs[node] = Program(self._inputs.trace, None, [node])
        return self._compute(self._programs[node], [node], self._x[index])[0]

    def _made(self, nodes: Sequence[str]) -> dict[str, Tensor]:
        """The nodes' tensors over the whole pool, in one pass of the parents."""
        program, x = Program(self._inputs.trace, None, nodes), self._x
        made: dict[str, Tensor] = {}
        for start in range(0, len(x), self._size):
            self._progress.report(start / len(x), "the parents' merged features")
            for node, tensor in zip(nodes, self._compute(program, nodes, x[start : start + self._size]), strict=True):
                if node not in made:
                    made[node] = tensor.new_empty(len(x), *tensor.shape[1:])
                made[node][start : start + len(tensor)] = tensor
        return made

    @torch.no_grad()
    def _compute(self, program: Program, nodes: Sequence[str], x: Tensor) -> list[Tensor]:
        trace, head = self._inputs.trace, self._goal.head
        columns = zip(*[program(state, x) for state in self._inputs.states], strict=True)
        merged = []
        for node, tensors in zip(nodes, columns, strict=True):
            if node != trace.output or head is None:
                merged.append(merge_activations(trace, self._groupings, node, tensors))
            elif self._goal.temperature is None:
                merged.append(head.target(tensors).float())
            else:
                merged.append(head.ensemble([t.double() for t in tensors], self._goal.temperature))
        return merged


@dataclass(frozen=True)
class Lesson:
    """What levels are trained on, the same for all: the parents, the samples, and the targets with their weights by
    node. size: most samples at once."""

    inputs: Inputs
    goal: Goal
    pool: Pool
    merged: Merged
    weights: Mapping[str, Tensor]
    size: int


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

    def advance(self, level: Level, output: Callable[[Tensor], Tensor], report: Callable[[str], None]) -> None:
        """Step over a finished level: keep its output if it fits in the budget, else go on from where we are.

        output: computes it for the samples of an index.
        """
        needed = 4 * math.prod((shape(self._trace.capture.node(level.output)) or (1,))[1:]) * len(self._x)
        if needed > self._budget:
            return
        parts = []
        for index in torch.arange(len(self._x), device=self._x.device).split(self._size):
            report(f"output of {level.name}")
            parts.append(output(index))
        self._at, self._kept = level.output, torch.cat(parts)
        self._programs.clear()
