"""What docs/add-a-method.md asks of a grouping of single spaces, at every choice and end of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from grouping_cases import GROUPINGS, LINEAR, permuted_copies, random_stats, stats_of, variants

from fusion_engine.core import registry
from fusion_engine.core.types import Grouping
from fusion_engine.grouping import group


def joined(grouping: Grouping) -> np.ndarray:
    """(n, n) what becomes of fused features that are given back to the parents and merged again."""
    return np.asarray(sum(m @ u for m, u in zip(grouping.merge, grouping.unmerge, strict=True)))


@pytest.mark.parametrize(("name", "parameters"), [(n, v) for n in GROUPINGS for v in variants(n)], ids=str)
def test_the_contract_of_soft_and_hard_groupings(name: str, parameters: dict[str, Any]) -> None:
    """What docs/add-a-method.md asks for: groups and invertible maps give fused features back whatever the parents;
    soft shares are shares, and do so where the parents are copies and each neuron meets its own."""
    grouping = group(random_stats(2), name, parameters)
    if grouping.labels is not None or name in LINEAR:
        np.testing.assert_allclose(joined(grouping), np.eye(grouping.size), atol=1e-12)
    if name not in LINEAR:
        np.testing.assert_allclose(sum(m.sum(1) for m in grouping.merge), 1.0, atol=1e-12)
        np.testing.assert_allclose([u.sum(1) for u in grouping.unmerge], 1.0, atol=1e-12)
    if parameters.get("regularisation", 0) == 0:
        _, copies = permuted_copies(2)
        np.testing.assert_allclose(joined(group(copies, name, parameters)), np.eye(copies.size), atol=1e-12)


def test_a_blurred_transport_of_copies_comes_to_their_match() -> None:
    _, copies = permuted_copies(2)
    away = [
        abs(joined(group(copies, "optimal_transport", {"regularisation": r})) - np.eye(copies.size)).max()
        for r in (1.0, 0.1, 0.01)
    ]
    assert away[0] > 0.1
    assert away == sorted(away, reverse=True)
    assert away[-1] < 1e-9


def order_matters(name: str, parameters: dict[str, Any], seed: int) -> bool:
    """Whether two parents that differ, with importances that matter, are grouped in another way once the second one's
    neurons are permuted."""
    random = np.random.default_rng(seed)
    n, rows = 9, 40
    features, scores = random.standard_normal((2, rows, n)), random.random((2, n)) + 0.1
    order = random.permutation(n)

    def grouped(order: np.ndarray) -> np.ndarray:
        joint = np.concatenate([features[0], features[1][:, order]], 1)
        few = joint[:10]
        held = {"held": few.T @ few, "held_means": few.mean(0), "held_count": len(few)}
        stats = stats_of(np.split(joint, 2, 1), [scores[0], scores[1][order]], **held)
        grouping = group(stats, name, parameters)
        # From neuron to neuron through the groups, so that the order of groups plays no part.
        return np.concatenate(grouping.unmerge) @ np.concatenate(grouping.merge, 1)

    back = np.concatenate([np.arange(n), n + np.argsort(order)])
    return not np.allclose(grouped(np.arange(n)), grouped(order)[np.ix_(back, back)], atol=1e-6)


EQUIVARIANT = [
    (name, v)
    for name in GROUPINGS
    for v in (*variants(name), {"start": "heaviest_first", "tries": "auto"}, {"candidates": "balanced, permutation"})
    if {p.name for p in registry.get("grouping", name).parameters} >= v.keys()
    and registry.get("grouping", name).is_equivariant(v)
]


@pytest.mark.parametrize(("name", "parameters"), EQUIVARIANT, ids=str)
def test_the_order_of_a_parents_neurons_does_not_matter(name: str, parameters: dict[str, Any]) -> None:
    assert not any(order_matters(name, parameters, seed) for seed in range(6))


@pytest.mark.parametrize("name", ["identity", "kmeans"])
def test_it_does_where_neurons_are_taken_by_their_number(name: str) -> None:
    assert any(order_matters(name, {}, seed) for seed in range(6))
    assert not registry.get("grouping", name).is_equivariant()
