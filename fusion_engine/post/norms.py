"""The batch norms of a traced model whose running statistics a step may estimate again."""

from collections import Counter
from dataclasses import dataclass

from torch import Tensor, fx

from ..core.types import State
from ..fusing import Inputs, RunLog
from ..graph import BATCH_NORMS, Trace, arguments, lookup, operator, with_aliases


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm of the graph. input: the node it normalises, channels along dimension 1. mean, var: the names of
    its running statistics."""

    input: str
    mean: str
    var: str

    @property
    def name(self) -> str:
        """The module's path."""
        return self.mean.removesuffix(".running_mean")


def find_batch_norms(trace: Trace) -> list[BatchNorm]:
    """Every use of a batch norm with running statistics, in the graph's order."""
    found = []
    for node in trace.capture.graph.nodes:
        if operator(node) not in BATCH_NORMS:
            continue
        call = arguments(node)
        statistics = [call["running_mean"], call["running_var"]]
        names = [trace.capture.tensors.get(n.name) if isinstance(n, fx.Node) else None for n in statistics]
        if names[0] is not None and names[1] is not None:
            found.append(BatchNorm(call["input"].name, names[0], names[1]))
    return found


def live_norms(inputs: Inputs, state: State, log: RunLog, step: str) -> list[BatchNorm]:
    """The batch norms whose statistics in `state` describe activations; the notes name `step` and the others.

    A batch norm that a solver folded into its layer is the identity (variance exactly 1, where a parent's is not):
    statistics put there would normalise what is not meant to be. One that is used several times has no single input.
    """
    norms = find_batch_norms(inputs.trace)
    uses = Counter(norm.mean for norm in norms)
    folded = [norm for norm in norms if _is_folded(inputs, state, norm)]
    shared = [norm for norm in norms if norm not in folded and uses[norm.mean] > 1]
    if not norms:
        log.note(f"{step}: the model has no batch norms, so nothing changes")
    if folded:
        log.note(
            f"{step}: {len(folded)} batch norms are folded into their layers and stay the identity; the step is for "
            "models merged by solver 'average'"
        )
    for name in dict.fromkeys(norm.name for norm in shared):
        log.note(f"{step}: batch norm {name} stays as it is, as it is used several times")
    return [norm for norm in norms if norm not in folded and norm not in shared]


def _is_folded(inputs: Inputs, state: State, norm: BatchNorm) -> bool:
    def is_one(given: State) -> bool:
        return bool((lookup(given, norm.var, inputs.trace) == 1).all())

    return is_one(state) and not all(is_one(parent) for parent in inputs.states)


def with_statistics(trace: Trace, state: State, changed: dict[str, Tensor]) -> dict[str, Tensor]:
    """A new state with the tensors of `changed` in place, of the types they had, under all their names."""
    typed = {name: value.to(lookup(state, name, trace)) for name, value in changed.items()}
    return {**state, **with_aliases(typed, state, trace)}
