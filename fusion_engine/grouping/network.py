"""What a grouping sees that works on weights: the whole networks, and the incoming weights of one space's neurons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..core.matrices import LabelMatrices
from ..core.types import Array, Grouping, Member, State
from ..fusing import parent_part
from ..graph import Trace, lookup, merge_states, read_site
from ..stats import SpaceStats


@dataclass(frozen=True)
class Network:
    """The parents as a grouping of scope 'network' gets them.

    trace       their common graph
    states      k states; batch norms that directly follow a layer are folded into it
    sizes       fused neurons by space
    importance  per parent: space -> (n_p,), mean 1 over all parents of the space
    seed        of everything random
    known       spaces that are grouped already, by features: heads, and what is inside them
    """

    trace: Trace
    states: tuple[State, ...]
    sizes: Mapping[str, int]
    importance: tuple[Mapping[str, Array], ...]
    seed: int = 0
    known: Mapping[str, Grouping] = field(default_factory=dict)

    @property
    def parents(self) -> int:
        """Number of parents k."""
        return len(self.states)

    @cached_property
    def open(self) -> list[str]:
        """Spaces to group, in dependency order."""
        return [name for name in self.trace.spaces if name not in self.known]

    def widths(self, space: str) -> tuple[int, ...]:
        """Neurons of every parent."""
        return tuple(len(scores[space]) for scores in self.importance)

    @cached_property
    def spaces_of(self) -> dict[str, list[str]]:
        """By tensor, the spaces that index it; a space twice where it does so twice."""
        found: dict[str, list[str]] = {}
        for name, space in self.trace.spaces.items():
            for member in space.members:
                found.setdefault(member.tensor, []).append(name)
        return found


class AlignedStates:
    """The parents' weights with the spaces that are grouped so far aligned with each other."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.states = [dict(state) for state in network.states]
        self.done: set[str] = set()
        self._graphs = [network.trace.fitting(state) for state in network.states]
        blocks = [name for name in network.known if network.trace.spaces[name].block]
        for name in [*blocks, *(n for n in network.known if n not in blocks)]:
            grouping = network.known[name]
            maps = [parent_part(grouping, p).merge[0] for p in range(network.parents)]
            self.apply(name, maps, list(grouping.unmerge))

    def apply(self, space: str, maps: Sequence[Array], back: Sequence[Array]) -> None:
        """Bring a space of all parents into the same order: maps (n, n_p) for what writes it, back (n_p, n) for what
        reads it."""
        trace = self.network.trace
        names = {member.tensor for member in trace.spaces[space].members}
        for p, state in enumerate(self.states):
            one = {space: Grouping(space, "aligned", _alone(maps, p), _alone(back, p))}
            state.update(merge_states([state], trace, one, names=names))
        self.done.add(space)

    def incoming(self, space: str) -> SpaceStats:
        """The neurons of a space with their incoming weights (and biases) as features: joint products (N, N).

        Only tensors whose other spaces are aligned count, as others cannot be compared; where there are none, all do.
        Weights that are the same for all neurons (folded norms) are left out.
        """
        network = self.network
        members = [m for m in network.trace.spaces[space].members if m.role == "out"]
        ready = [m for m in members if self._is_ready(m.tensor, space)]
        sizes = network.widths(space)
        gram, sums, count = np.zeros((sum(sizes), sum(sizes))), np.zeros(sum(sizes)), 0
        for number, member in enumerate(members):
            if ready and member not in ready:
                continue
            rows = torch.cat([self._rows(p, space, number, member) for p in range(network.parents)])
            rows = rows[:, (rows != rows[:1]).any(0)].double()
            gram += (rows @ rows.T).cpu().numpy()
            sums += rows.sum(1).cpu().numpy()
            count += rows.shape[1]
        return SpaceStats(
            space=space, sizes=sizes, gram=gram, means=sums / max(count, 1), count=count,
            importance=tuple(scores[space] for scores in network.importance),
            size=network.sizes.get(space, network.trace.spaces[space].size), seed=network.seed,
            freedom=network.trace.spaces[space].freedom,
        )  # fmt: skip

    def between(self, space: str, p: int, q: int) -> Array:
        """(n_p, n_q) products of `incoming` between two parents, where those of all parents would take too much."""
        members = [m for m in self.network.trace.spaces[space].members if m.role == "out"]
        ready = [m for m in members if self._is_ready(m.tensor, space)]
        total: Array | None = None
        for number, member in enumerate(members):
            if ready and member not in ready:
                continue
            first = self._rows(0, space, number, member)[:1]
            parents = range(self.network.parents)
            differs = torch.stack([(self._rows(x, space, number, member) != first).any(0) for x in parents]).any(0)
            rows, others = (self._rows(x, space, number, member)[:, differs].double() for x in (p, q))
            product = (rows @ others.T).cpu().numpy()
            total = product if total is None else total + product
        assert total is not None
        return total

    def _is_ready(self, tensor: str, space: str) -> bool:
        others = list(self.network.spaces_of[tensor])
        others.remove(space)
        return all(other in self.done for other in others)

    def _rows(self, p: int, space: str, number: int, member: Member) -> Tensor:
        own = [m for m in self._graphs[p].spaces[space].members if m.role == "out"][number]
        return read_site(lookup(self.states[p], member.tensor, self.network.trace), own)


def _alone(matrices: Sequence[Array], p: int) -> Sequence[Array]:
    return matrices.only(p) if isinstance(matrices, LabelMatrices) else (matrices[p],)
