"""Where the least-squares solver meets others: folded norms, the average as its limit, activations computed again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.zoo import zoo_names

from . import checks
from .cases import FEW, Case
from .engine import Method, Parents, fold, fuse_states, recomputing
from .methods import over, some_cases

KMEANS = Method("grouping", "kmeans")
EVERYWHERE = [(name,) for name in zoo_names()]


def folded(case: Case) -> Parents:
    """Least squares averages folded weights, so the comparison is made between folded parents."""
    parents = case.parents(*checks.DIFFERENT)
    states = [fold(case.trace, state) for state in parents.states]
    return replace(parents, states=states, scores=[case.scored(state) for state in states])


@over(some_cases(few=FEW[:2]), "grouping")
def test_infinite_ridge_is_the_average(case: Case, grouping: Method) -> None:
    if grouping.spec.scope == "level":
        pytest.skip("its groups depend on the fused prefix, which the average solver has not")
    average, _ = fuse_states(folded(case), grouping, checks.AVERAGE)
    pulled, _ = fuse_states(folded(case), grouping, Method("solver", "least_squares", (("ridge", 1e12),)))
    torch.testing.assert_close(case.outputs(pulled), case.outputs(average), rtol=1e-4, atol=1e-4)


@over(EVERYWHERE)
def test_folding_norms_keeps_the_function(case: Case) -> None:
    state = fold(case.trace, case.state("first"))
    torch.testing.assert_close(case.outputs(state), case.outputs_of("first"), rtol=1e-4, atol=1e-4)


@over(EVERYWHERE)
def test_recomputed_activations_give_the_same_result(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept or computed again: the same weights, up to rounding."""
    parents, ridge = case.parents(*checks.DIFFERENT), ("ridge", 0.01)
    kept, _ = fuse_states(parents, KMEANS, Method("solver", "least_squares", (ridge,)))
    recomputing(monkeypatch)
    again, _ = fuse_states(parents, KMEANS, Method("solver", "least_squares", (ridge, ("memory_mb", 1))))
    torch.testing.assert_close(case.outputs(kept), case.outputs(again), rtol=1e-3, atol=1e-4)
