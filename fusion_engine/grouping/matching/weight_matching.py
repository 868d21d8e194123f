"""Weight matching (Git Re-Basin): permute the parents' neurons so that their weights agree best. Needs no data."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...core.matrices import label_matrices
from ...core.registry import register
from ...core.seeds import numpy_generator
from ...core.types import Grouping, State
from ...graph import lookup, permute_state, read_site
from ...stats.points import WIDE
from ..from_labels import hard_grouping, require_equal_widths
from ..network import AlignedStates, Network
from ..parameters import WeightsParameter
from .alignment import AgainstParameter, ReferenceParameter, align, averaged, check_reference, reorder

_SWEEPS = 100
_GAIN = 1e-7  # a smaller relative gain is rounding


@register(
    "grouping",
    "weight_matching",
    title="Weight matching",
    citation="Ainsworth et al. 2023, Git Re-Basin (weight matching)",
    needs={"weights"},
    uses={"importance": {"weights": "importance"}},
    equivariant=True,
    scope="network",
    pairs=True,
)
def weight_matching(
    network: Network,
    *,
    weights: WeightsParameter = "uniform",
    against: AgainstParameter = "reference",
    reference: ReferenceParameter = 1,
) -> dict[str, Grouping]:
    """Permutes each parent's neurons so that its weights agree best with the reference's. Sees no data.

    P = argmax sum over all tensors of <W_ref, P W_p P^T>, by coordinate descent: one space after the other, in seeded
    random order, a linear sum assignment on the summed products of every weight that touches the space, until none
    changes (Ainsworth et al. 2023, algorithm 1). It starts from a matching in dependency order, each space by its
    incoming weights once the spaces before it are matched. Biases and norms count; batch norms are folded first.

    network: parents of equal width (FusionError otherwise).
    """
    for name in network.open:
        size = network.sizes.get(name, network.trace.spaces[name].size)
        require_equal_widths(name, "weight_matching", network.widths(name), size)
        check_reference(name, network.widths(name), size, reference)
    matching = _Matching(network, reference)
    align(network.parents, reference, against, matching.step)
    found = {}
    for name in network.open:
        scores = [s[name] for s in network.importance] if weights == "importance" else None
        labels = [np.argsort(orders[name]) for orders in matching.orders]
        sizes = network.widths(name)
        if sum(sizes) > WIDE:
            shares = np.concatenate(scores or [np.ones(n) for n in sizes])
            given = np.concatenate(labels), sizes, sizes[0], shares
            found[name] = hard_grouping(name, "weight_matching", *given)
            continue
        maps = [reorder(orders[name]) for orders in matching.orders]
        found[name] = averaged(name, "weight_matching", maps, [r.T for r in maps], scores)
    return found


class _Matching:
    """The parents' orders of neurons, and their weights in these orders."""

    def __init__(self, network: Network, reference: int) -> None:
        self.network, self.trace = network, network.trace
        self.orders = [{n: np.arange(s.size) for n, s in self.trace.spaces.items()} for _ in network.states]
        started = AlignedStates(network)
        for name in network.open:
            sizes = network.widths(name)
            if sum(sizes) > WIDE:
                gains = (started.between(name, reference - 1, p) for p in range(len(sizes)))
            else:
                stats = started.incoming(name)
                gains = (stats.block(reference - 1, p) for p in range(len(sizes)))
            orders = [linear_sum_assignment(gained, maximize=True)[1] for gained in gains]
            orders[reference - 1] = np.arange(sizes[reference - 1])
            labels, ones = [np.argsort(order) for order in orders], [np.ones(len(order)) for order in orders]
            started.apply(name, *label_matrices(labels, ones, sizes[0]))
            for p, order in enumerate(orders):
                self.orders[p][name] = order
        self.states: list[dict[str, Tensor]] = started.states
        self._seen = 0

    def step(self, p: int, others: tuple[int, ...]) -> bool:
        """Match parent p with the mean of the others' weights, until no space changes; whether any did."""
        target = self._mean(others)
        random = numpy_generator(self.network.seed, "weight_matching", p, self._seen)
        self._seen += 1
        changed = False
        for _ in range(_SWEEPS):
            names = [self.network.open[int(i)] for i in random.permutation(len(self.network.open))]
            moved = [name for name in names if self._improve(p, name, target)]
            changed |= bool(moved)
            if not moved:
                break
        return changed

    def _mean(self, others: tuple[int, ...]) -> State:
        if len(others) == 1:
            return self.states[others[0]]
        names = {m.tensor for name in self.network.open for m in self.trace.spaces[name].members}
        return {n: torch.stack([lookup(self.states[q], n, self.trace) for q in others]).mean(0) for n in names}

    def _improve(self, p: int, name: str, target: State) -> bool:
        """Reorder one space if that brings the weights that touch it closer to the target's."""
        space, state = self.trace.spaces[name], self.states[p]
        gains = np.zeros((space.size, space.size))
        for member in space.members:
            wanted = read_site(lookup(target, member.tensor, self.trace), member)
            gains += (wanted @ read_site(lookup(state, member.tensor, self.trace), member).T).double().cpu().numpy()
        order = linear_sum_assignment(gains, maximize=True)[1]
        here, there = float(np.trace(gains)), float(gains[np.arange(len(order)), order].sum())
        if there <= here + _GAIN * float(np.abs(gains).sum(1).mean()):
            return False
        changed = permute_state(state, space, order, self.trace)
        tensors = [member.tensor for member in space.members]
        if len(set(tensors)) < len(tensors):
            # A weight between the space and itself moves on both sides, which the assignment does not foresee.
            unique = set(tensors)
            moved = {**state, **changed}
            if self._agreement(target, moved, unique) <= self._agreement(target, state, unique):
                return False
        state.update(changed)
        self.orders[p][name] = self.orders[p][name][order]
        return True

    def _agreement(self, target: State, state: Mapping[str, Tensor], names: Iterable[str]) -> float:
        pairs = ((lookup(target, n, self.trace).double(), lookup(state, n, self.trace).double()) for n in names)
        return sum(float((a * b).sum()) for a, b in pairs)
