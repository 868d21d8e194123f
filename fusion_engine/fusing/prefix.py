"""Tensors inside the fused model, level after level: kept while they fit in a byte budget, else computed again."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..core.types import Level, State
from ..graph import Program
from .inputs import Inputs


class FusedPrefix:
    """Tensors inside the fused model, level after level, with the weights solved so far."""

    def __init__(self, inputs: Inputs, size: int, budget: int) -> None:
        self._inputs, self._size, self._budget = inputs, size, budget
        self._at: str | None = None
        self._kept: list[Tensor] | None = None

    def batches(self, state: State, nodes: Sequence[str]) -> Iterator[tuple[Tensor, ...]]:
        """The tensors at `nodes`, batch by batch."""
        source, tensors = self._source()
        if list(nodes) == [source]:
            for tensor in tensors:
                yield (tensor,)
            return
        program = Program(self._inputs.trace, None if source is None else [source], nodes)
        for tensor in tensors:
            yield program(state, tensor)

    def advance(self, state: State, level: Level) -> None:
        """Step over a solved level: keep its output if it fits in the budget, else go on from where we are."""
        if level.input != self._at and self._kept is not None:
            return
        source, tensors = self._source()
        program = Program(self._inputs.trace, None if source is None else [source], [level.output])
        kept: list[Tensor] = []
        used = 0
        total, seen = len(self._inputs.data), 0
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
            return None, self._inputs.batches(self._size)
        return self._at, iter(self._kept)
