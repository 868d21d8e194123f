"""The checks find what is wrong: methods with one fault each, planted over all four kinds, and the same without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp
from torch import Tensor, nn

from fusion_engine.core.types import Grouping, State
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, Trace, merge_states
from fusion_engine.stats import SpaceStats

from . import checks
from .cases import ACTIVATION, known_case
from .engine import Parents, planted, score_state

Groupings = Mapping[str, Grouping]
PAIRING = frozenset({"permutation", "balanced", "hungarian"})


# ---- importance


def scores_of(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    """Without a fault: the mean size of the activations."""
    return score_state(trace, state, data, ACTIVATION)


def all_ones(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return {name: torch.ones_like(s) for name, s in scores_of(trace, state, data).items()}


def of_the_first_samples(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return scores_of(trace, state, data.subset(slice(0, len(data) // 2)))


def by_place(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return {name: s * torch.linspace(0.5, 1, len(s)) for name, s in scores_of(trace, state, data).items()}


def sorted_scores(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return {name: s.sort().values for name, s in scores_of(trace, state, data).items()}


def with_noise(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return {name: s + 0.1 * torch.rand(len(s)) for name, s in scores_of(trace, state, data).items()}


def samples_changed(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    data.x.mul_(1 + 1e-6)
    return scores_of(trace, state, data)


def some_are_zero(trace: Trace, state: State, data: Dataset) -> dict[str, Tensor]:
    return {name: (s - s.mean()).clamp_min(0) for name, s in scores_of(trace, state, data).items()}


# ---- grouping


def matched(stats: SpaceStats, costs: np.ndarray | None = None, shift: int = 0) -> Grouping:
    """Without a fault: the neurons of two parents in pairs at the least distance, merged by importance."""
    n, (s, t) = stats.size, stats.importance
    if costs is None:
        costs = (s[:, None] * t[None, :] / (s[:, None] + t[None, :])) * stats.distances()[:n, n:]
    rows, columns = linear_sum_assignment(costs)
    pair = np.empty(n, dtype=np.int64)
    pair[columns] = rows
    one = (pair[None, :] == np.arange(n)[:, None]).astype(float)
    share = s / (s + one @ t)
    merge = np.diag(share), np.diag(1 - share) @ one
    return Grouping(stats.space, "planted", merge, (np.eye(n), one.T), (np.arange(n), (pair + shift) % n))


def transported(stats: SpaceStats, softness: Sequence[float], *, both: bool = True) -> Grouping:
    """A soft matching: Sinkhorn's iteration, cooled by the sequence of softnesses. Without a fault it ends hard."""
    n = stats.size
    costs = np.sqrt(stats.distances()[:n, n:])
    f, g = np.zeros(n), np.zeros(n)
    for eps in softness:
        scale = eps * costs.mean()
        for _ in range(100 if both else 1):
            g = -scale * logsumexp((f[:, None] - costs) / scale, 0) if both else g
            f = -scale * logsumexp((g[None, :] - costs) / scale, 1)
    plan = np.exp((f[:, None] + g[None, :] - costs) / scale)
    if both:
        plan /= plan.sum(1, keepdims=True)
        back = plan.T / plan.T.sum(1)[:, None]
        return Grouping(stats.space, "planted", (np.eye(n) / 2, plan / 2), (np.eye(n), back))
    return Grouping(stats.space, "planted", (np.eye(n) / 2, plan.T / 2), (np.eye(n), plan.T))


COOLING = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def cooled(stats: SpaceStats) -> Grouping:
    return transported(stats, COOLING)


def never_cooled(stats: SpaceStats) -> Grouping:
    return transported(stats, [0.05])


def rows_alone(stats: SpaceStats) -> Grouping:
    return transported(stats, COOLING, both=False)


def rows_not_normalised(stats: SpaceStats) -> Grouping:
    found = matched(stats)
    return replace(found, merge=tuple(m * (m.sum() + 1) for m in found.merge))


def given_back_transposed(stats: SpaceStats) -> Grouping:
    found = matched(stats)
    return replace(found, unmerge=tuple(u.T for u in found.unmerge), labels=None)


def labels_of_others(stats: SpaceStats) -> Grouping:
    return matched(stats, shift=1)


def own_place_preferred(stats: SpaceStats) -> Grouping:
    distances = stats.distances()[: stats.size, stats.size :]
    return matched(stats, distances * (1 - 0.5 * np.eye(stats.size)))


def importance_forgotten(stats: SpaceStats) -> Grouping:
    return matched(replace(stats, importance=tuple(np.ones_like(s) for s in stats.importance)))


def nearest_for_each(stats: SpaceStats) -> Grouping:
    """Several neurons may have the same nearest one, which is no pair."""
    n = stats.size
    nearest = stats.distances()[:n, n:].argmin(0)
    one = (nearest[None, :] == np.arange(n)[:, None]).astype(float)
    total = 1 + one.sum(1)
    merge = np.diag(1 / total), one / total[:, None]
    return Grouping(stats.space, "planted", merge, (np.eye(n), one.T), (np.arange(n), nearest))


def chance_of_its_own(stats: SpaceStats) -> Grouping:
    n = stats.size
    return matched(stats, stats.distances()[:n, n:] * np.random.default_rng().uniform(0.5, 1, (n, n)))


# ---- solvers


def alone(groupings: Groupings, p: int) -> dict[str, Grouping]:
    """What brings one parent into the fused network's neurons, for groupings into pairs."""
    back = {n: (g.merge[p] / g.merge[p].sum(1, keepdims=True), g.unmerge[p]) for n, g in groupings.items()}
    return {n: Grouping(n, "alone", (merge,), (unmerge,)) for n, (merge, unmerge) in back.items()}


def aligned(parents: Parents, groupings: Groupings, states: Sequence[State] | None = None) -> list[dict[str, Tensor]]:
    states = parents.states if states is None else states
    return [merge_states([state], parents.trace, alone(groupings, p)) for p, state in enumerate(states)]


def fishers(parents: Parents) -> list[dict[str, Tensor]]:
    """Stand-ins for Fisher information: how sure each parent is of each of its weights."""
    return [{n: t**2 + 1e-3 if t.is_floating_point() else t for n, t in s.items()} for s in parents.states]


def weighted(values: Sequence[State], weights: Sequence[State]) -> dict[str, Tensor]:
    def mean(name: str) -> Tensor:
        first = values[0][name]
        if not first.is_floating_point():
            return first.clone()
        parts = torch.stack([v[name].double() for v in values])
        shares = torch.stack([w[name].double().expand(first.shape) for w in weights])
        return ((parts * shares).sum(0) / shares.sum(0)).to(first.dtype)

    return {name: mean(name) for name in values[0]}


def fisher(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    """Without a fault: the mean of the aligned weights, each counted as its parent is sure of it."""
    return weighted(aligned(parents, groupings), aligned(parents, groupings, fishers(parents)))


def fisher_in_own_order(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return weighted(aligned(parents, groupings), fishers(parents))


def weights_in_own_order(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return weighted(list(parents.states), aligned(parents, groupings, fishers(parents)))


def averaged(parents: Parents, groupings: Groupings, rule: str, order: int = 1) -> dict[str, Tensor]:
    """Without a fault: the average, with classes from the parents whose output scores say so."""
    weights = None
    if "output" in parents.scores[0] and rule == "importance":
        shares = torch.stack([s["output"] / s["output"].sum() for s in parents.scores])
        weights = list(shares / shares.sum(0))[::order]
    return merge_states(parents.states, parents.trace, groupings, weights)


def head_swapped(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return averaged(parents, groupings, rule, order=-1)


def head_ignored(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return averaged(parents, groupings, "uniform")


def first_parent_alone(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return aligned(parents, groupings)[0]


def buffers_in_own_order(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    plain = weighted(list(parents.states), [{n: torch.ones(()) for n in s} for s in parents.states])
    return {n: plain[n] if "running" in n else t for n, t in averaged(parents, groupings, rule).items()}


def in_double_precision(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return {n: t.double() for n, t in averaged(parents, groupings, rule).items()}


def parents_changed(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    fused = averaged(parents, groupings, rule)
    next(iter(parents.states[-1].values())).mul_(1 + 1e-6)
    return fused


def _jittered(fused: dict[str, Tensor], noise: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {n: t + 1e-6 * noise(t) if t.is_floating_point() else t for n, t in fused.items()}


def global_chance(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return _jittered(averaged(parents, groupings, rule), torch.randn_like)


def global_seed(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    torch.manual_seed(parents.seed)
    return averaged(parents, groupings, rule)


def seed_ignored(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    chance = np.random.default_rng()
    return _jittered(averaged(parents, groupings, rule), lambda t: torch.as_tensor(chance.normal(size=t.shape)).to(t))


LIVING = nn.Identity()


def hook_left(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    LIVING.register_forward_hook(lambda *given: None)
    return averaged(parents, groupings, rule)


def fewer_samples(parents: Parents, groupings: Groupings, rule: str) -> dict[str, Tensor]:
    return corrected(parents, groupings, averaged(parents, groupings, rule), samples=len(parents.data) // 2)


# ---- steps


def corrected(
    parents: Parents, groupings: Groupings, state: State, samples: int | None = None
) -> dict[str, Tensor]:
    """Without a fault: the output's bias such that its mean is the mean of the parents'."""
    run = Program(parents.trace, None, [parents.trace.output])
    x = parents.data.normalised()[:samples]
    with torch.no_grad():
        means = [run(s, x)[0].double().mean(0) for s in parents.states]
        change = torch.stack(means).mean(0) - run(state, x)[0].double().mean(0)
    name = next(layer.bias for layer in parents.trace.layers.values() if layer.output == parents.trace.output)
    return {**state, name: (state[name].double() + change).to(state[name])}


def corrected_by_the_first_samples(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    return corrected(parents, groupings, state, samples=len(parents.data) // 2)


def buffers_moved(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    return {n: t * 1.01 if "running_mean" in n else t for n, t in state.items()}


def state_changed(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    next(iter(state.values())).mul_(1 + 1e-6)
    return dict(state)


def biases_of_unaligned_parents(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    means = {n: torch.stack([s[n] for s in parents.states]).mean(0) for n in state if n.endswith("bias")}
    return {**state, **means}


def biases_of_the_last_parent(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    """Gives copies of one parent back as they are if they stand in one order; here they do not."""
    return {**state, **{n: parents.states[-1][n] for n in state if n.endswith("bias")}}


def chance_in_a_step(parents: Parents, groupings: Groupings, state: State) -> dict[str, Tensor]:
    return _jittered(dict(state), torch.randn_like)


# ---- faults and who finds them


@dataclass(frozen=True)
class Fault:
    """A planted method; finder: the check that has to find it, None where there is no fault."""

    kind: str
    function: Callable[..., Any]
    finder: checks.Check | None = None
    needs: frozenset[str] = frozenset({"moments"})
    flags: Mapping[str, Any] = field(default_factory=dict)
    network: str = "mlp"

    def __str__(self) -> str:
        return f"{self.kind}-{self.function.__name__}"


WEIGHED = frozenset({"moments", "importance"})
PAIRS: Mapping[str, Any] = {"pairs": True, "equivariant": True, "max_parents": 2}
SOFT: Mapping[str, Any] = {"equivariant": True, "max_parents": 2}
SOLVER: Mapping[str, Any] = {
    "accepts": PAIRING, "scope": "network", "uses": {"importance": {"head_weights": "importance"}}
}  # fmt: skip


def _solver(function: Callable[..., Any], finder: checks.Check | None = None, network: str = "mlp") -> Fault:
    return Fault("solver", function, finder, frozenset({"weights"}), SOLVER, network)


SOUND = [
    Fault("importance", scores_of),
    Fault("grouping", matched, None, WEIGHED, PAIRS),
    Fault("grouping", cooled, None, frozenset({"moments"}), SOFT),
    _solver(averaged),
    Fault("post", corrected),
]
# Its classes are as its weights say, whatever the scores: what is asked of head weights is not asked of it.
FISHER = _solver(fisher)

FAULTS = [
    Fault("importance", all_ones, checks.scores_are_sound),
    Fault("importance", of_the_first_samples, checks.scores_ignore_the_order_of_samples),
    Fault("importance", by_place, checks.scores_follow_their_neurons),
    Fault("importance", sorted_scores, checks.scores_follow_their_neurons),
    Fault("importance", by_place, checks.importances_shape_the_network),
    Fault("importance", with_noise, checks.scores_are_sound),
    Fault("importance", samples_changed, checks.scores_are_sound),
    Fault("importance", some_are_zero, checks.scores_are_sound),
    Fault("grouping", rows_alone, checks.grouping_is_sound, frozenset({"moments"}), SOFT),
    Fault("grouping", never_cooled, checks.alike_neurons_are_told_apart, frozenset({"moments"}), SOFT),
    Fault("grouping", rows_not_normalised, checks.grouping_is_sound, WEIGHED, PAIRS),
    Fault("grouping", given_back_transposed, checks.copies_are_grouped, WEIGHED, PAIRS),
    Fault("grouping", labels_of_others, checks.grouping_is_sound, WEIGHED, PAIRS),
    Fault("grouping", own_place_preferred, checks.grouping_ignores_the_order_of_neurons, WEIGHED, PAIRS),
    Fault("grouping", importance_forgotten, checks.importance_matters, WEIGHED, PAIRS),
    Fault("grouping", matched, checks.importance_matters, frozenset({"moments"}), PAIRS),
    Fault("grouping", nearest_for_each, checks.grouping_is_sound, frozenset({"moments"}), PAIRS),
    Fault("grouping", chance_of_its_own, checks.grouping_is_the_same_again, WEIGHED, PAIRS),
    _solver(fisher_in_own_order, checks.solver_ignores_the_order_of_neurons),
    _solver(weights_in_own_order, checks.solver_ignores_the_order_of_neurons),
    _solver(head_swapped, checks.classes_are_learnt_from_whom_they_trust),
    _solver(head_ignored, checks.importance_matters),
    _solver(first_parent_alone, checks.every_parent_matters),
    _solver(buffers_in_own_order, checks.solver_ignores_the_order_of_neurons, "densenet"),
    _solver(in_double_precision, checks.solver_is_the_same_again),
    _solver(parents_changed, checks.solver_is_the_same_again),
    _solver(global_chance, checks.solver_is_the_same_again),
    _solver(global_seed, checks.solver_is_the_same_again),
    _solver(seed_ignored, checks.solver_is_the_same_again),
    _solver(hook_left, checks.solver_is_the_same_again),
    _solver(fewer_samples, checks.solver_ignores_the_order_of_samples),
    Fault("post", corrected_by_the_first_samples, checks.step_ignores_the_order_of_samples),
    Fault("post", buffers_moved, checks.step_is_sound, network="densenet"),
    Fault("post", state_changed, checks.step_is_sound),
    Fault("post", biases_of_unaligned_parents, checks.step_ignores_the_order_of_neurons),
    Fault("post", biases_of_the_last_parent, checks.step_gives_the_parent_back),
    Fault("post", chance_in_a_step, checks.step_is_sound),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f"{f}-{f.finder.__name__}")
def test_a_planted_fault_is_found(fault: Fault) -> None:
    case = known_case.__wrapped__(fault.network)  # of its own: what the fault computes or changes is kept nowhere
    assert fault.finder in checks.CHECKS[fault.kind]
    with (
        torch.random.fork_rng(devices=[]),
        planted(fault.kind, fault.function, set(fault.needs), **fault.flags) as method,
        pytest.raises(AssertionError),
    ):
        fault.finder(case, method)


@pytest.mark.parametrize("method", [*SOUND, FISHER], ids=str)
def test_what_has_no_fault_passes(method: Fault) -> None:
    """So that it is the fault that is found, not the planting."""
    case = known_case.__wrapped__(method.network)
    with planted(method.kind, method.function, set(method.needs), **method.flags) as name:
        for check in checks.CHECKS[method.kind]:
            if method is not FISHER or check not in checks.ONCE:
                check(case, name)


def test_enough_is_planted_everywhere() -> None:
    for kind, asked in checks.CHECKS.items():
        finders = {fault.finder for fault in FAULTS if fault.kind == kind}
        assert finders <= set(asked)
        assert len(finders) >= 3
    assert len(FAULTS) >= 12
