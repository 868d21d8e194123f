"""Invariants of every registered grouping, and oracles for each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from grouping_cases import GROUPINGS, LINEAR, permuted_copies, random_stats, stats_of
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from fusion_engine.core import registry
from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.core.types import Grouping
from fusion_engine.grouping import group
from fusion_engine.grouping.clustering.kmeans import representation_error, weighted_kmeans
from fusion_engine.grouping.matching.hungarian import pair_costs
from fusion_engine.grouping.similarity import correlations
from fusion_engine.stats import SpaceStats

MATCHING = [name for name in GROUPINGS if name != "identity"]


def parents_of(name: str) -> list[int]:
    most = registry.get("grouping", name).max_parents
    return [k for k in (2, 3, 5) if most is None or k <= most]


CASES = [(name, k) for name in GROUPINGS for k in parents_of(name)]


@pytest.mark.parametrize(("name", "copies"), CASES)
def test_merge_undoes_unmerge(name: str, copies: int) -> None:
    """sum_p M_p U_p = I, the rows of M weigh one in all, and labels cover every group."""
    grouping = group(random_stats(copies), name)
    product = sum(m @ u for m, u in zip(grouping.merge, grouping.unmerge, strict=True))
    np.testing.assert_allclose(product, np.eye(grouping.size), atol=1e-12 if name in LINEAR else 1e-14)
    if name in LINEAR:
        return
    np.testing.assert_allclose(sum(m.sum(1) for m in grouping.merge), 1.0, atol=1e-14)
    assert grouping.labels is not None
    assert set(np.concatenate(grouping.labels)) == set(range(grouping.size))


@pytest.mark.parametrize(("name", "copies"), [(n, k) for n, k in CASES if n in MATCHING])
def test_permuted_copies_are_put_together(name: str, copies: int) -> None:
    """Invariant 2 at the level of one space: every group is one neuron and its copies."""
    orders, stats = permuted_copies(copies)
    grouping = group(stats, name)
    if name in LINEAR:
        for order, merge in zip(orders, grouping.merge, strict=True):
            np.testing.assert_allclose(merge * copies, np.eye(stats.size)[:, order], atol=1e-8)
        return
    labels = grouping.labels
    assert labels is not None
    for order, own in zip(orders, labels, strict=True):
        assert (labels[0][order] == own).all()
    assert len(set(labels[0])) == stats.size


@pytest.mark.parametrize("name", GROUPINGS)
def test_scale_of_importance_does_not_matter(name: str) -> None:
    """Invariant 6."""
    stats = random_stats(2)
    scaled = stats_of_scaled(stats, 1234.5)
    for one, other in zip(group(stats, name).merge, group(scaled, name).merge, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def stats_of_scaled(stats: SpaceStats, factor: float) -> SpaceStats:
    return replace(stats, importance=tuple(s * factor for s in stats.importance))


@pytest.mark.parametrize("name", GROUPINGS)
def test_same_seed_same_grouping(name: str) -> None:
    one, other = (group(random_stats(2), name) for _ in range(2))
    assert all((a == b).all() for a, b in zip(one.merge, other.merge, strict=True))


@pytest.mark.parametrize("name", GROUPINGS)
def test_one_parent_keeps_its_neurons(name: str) -> None:
    grouping = group(random_stats(1), name)
    np.testing.assert_array_equal(grouping.merge[0], np.eye(10))


@pytest.mark.parametrize("name", GROUPINGS)
def test_one_neuron(name: str) -> None:
    grouping = group(random_stats(2, n=1), name)
    assert [m.shape for m in grouping.merge] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("name", GROUPINGS)
def test_dead_neurons_do_no_harm(name: str) -> None:
    """Neurons whose features are all zero, several in each parent."""
    random = np.random.default_rng(3)
    features = [random.standard_normal((20, 6)) * (np.arange(6) > 2) for _ in range(2)]
    grouping = group(stats_of(features, [np.full(6, 1e-8)] * 2), name)
    assert all(np.isfinite(m).all() for m in grouping.merge)


@pytest.mark.parametrize("name", GROUPINGS)
def test_features_that_are_not_finite_are_named(name: str) -> None:
    random = np.random.default_rng(3)
    features = [random.standard_normal((20, 6)) for _ in range(2)]
    features[1][4, 2] = np.inf
    with np.errstate(invalid="ignore"), pytest.raises(FusionError, match=r"space 's': .* not finite"):
        group(stats_of(features, [np.ones(6)] * 2), name)


def test_rounding_is_no_variance() -> None:
    """Moments summed in float32: constants seem to vary, and to vary together."""
    random = np.random.default_rng(4)
    joint = np.concatenate([np.full((50, 1), 3.0), random.standard_normal((50, 2)), np.full((50, 2), [3.0, 2.0])], 1)
    stats = stats_of([joint[:, :3], joint[:, 3:]], [np.ones(3), np.ones(2)])
    rough = replace(stats, gram=stats.gram * (1 + 3e-6))
    np.testing.assert_array_equal(correlations(rough)[:, [0, 3, 4]], np.eye(5)[:, [0, 3, 4]] + np.array(
        [[0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    ))  # fmt: skip
    np.testing.assert_allclose(correlations(rough)[1, 2], np.corrcoef(joint[:, 1], joint[:, 2])[0, 1], atol=1e-5)


def test_hungarian_costs_equal_the_definition() -> None:
    """The closed form against projections and norms taken on the features themselves (Luenam et al. 2025)."""
    random = np.random.default_rng(1)
    rows, n = 30, 5
    inputs = random.standard_normal((rows, 7))
    first, second = (random.standard_normal((rows, n)) for _ in range(2))
    s, t = random.random(n) + 0.1, random.random(n) + 0.1
    projection = inputs @ np.linalg.pinv(inputs)
    joint = np.concatenate([first, second], 1)
    stats = stats_of([first, second], [s, t], projected=joint.T @ projection @ joint)
    costs = pair_costs(stats)
    for i, j in itertools.product(range(n), range(n)):
        fused = projection @ (s[i] * first[:, i] + t[j] * second[:, j]) / (s[i] + t[j])
        expected = s[i] * np.linalg.norm(fused - first[:, i]) + t[j] * np.linalg.norm(fused - second[:, j])
        assert costs[i, j] == pytest.approx(expected, rel=1e-9)


def test_hungarian_is_optimal_by_brute_force() -> None:
    stats = random_stats(2, n=5, seed=4)
    costs = pair_costs(stats)
    grouping = group(stats, "hungarian")
    best = min(sum(costs[i, p[i]] for i in range(5)) for p in itertools.permutations(range(5)))
    mean = np.mean(np.concatenate(stats.importance))
    assert grouping.info["cost"] * mean == pytest.approx(best)


def test_hungarian_refuses_three_parents() -> None:
    from fusion_engine.core.recipe import Recipe

    with pytest.raises(RecipeError, match="at most 2 parents"):
        Recipe(grouping="hungarian").checked(3, ["labels"])


def test_kmeans_equals_scikit_learn_from_the_same_start() -> None:
    """Lloyd on the Gram is Lloyd on the points."""
    random = np.random.default_rng(5)
    points, weights = random.standard_normal((40, 8)), random.random(40) + 0.1
    centres = np.arange(10)
    oracle = KMeans(10, init=points[centres], n_init=1, max_iter=200, tol=0).fit(points, sample_weight=weights)
    cost, labels = weighted_kmeans(points @ points.T, weights, centres, 200)
    assert cost == pytest.approx(oracle.inertia_, rel=1e-9)
    np.testing.assert_array_equal(labels, oracle.labels_)


def test_kmeans_reaches_the_optimum_of_a_tiny_case() -> None:
    """Brute force over all ways to put 6 points into 3 groups."""
    random = np.random.default_rng(6)
    features = [random.standard_normal((5, 3)) for _ in range(2)]
    stats = stats_of(features, [np.ones(3)] * 2)
    points = np.concatenate(features, 1).T
    best = np.inf
    for labels in itertools.product(range(3), repeat=6):
        if len(set(labels)) == 3:
            groups = [points[np.array(labels) == g] for g in range(3)]
            best = min(best, sum(((g - g.mean(0)) ** 2).sum() for g in groups))
    assert group(stats, "kmeans", {"tries": 20}).info["cost"] == pytest.approx(best)


def test_kmeans_takes_parents_of_different_widths() -> None:
    random = np.random.default_rng(7)
    features = [random.standard_normal((30, n)) for n in (6, 9)]
    grouping = group(stats_of(features, [np.ones(6), np.ones(9)], size=7), "kmeans")
    assert [m.shape for m in grouping.merge] == [(7, 6), (7, 9)]


def test_kmeans_cannot_make_more_groups_than_neurons() -> None:
    random = np.random.default_rng(8)
    stats = stats_of([random.standard_normal((9, 3))] * 2, [np.ones(3)] * 2, size=7)
    with pytest.raises(FusionError, match="7 groups out of 6"):
        group(stats, "kmeans")


@pytest.mark.parametrize("name", ["identity", "hungarian", "balanced"])
def test_equal_widths_are_asked_for_by_name(name: str) -> None:
    random = np.random.default_rng(9)
    stats = stats_of([random.standard_normal((9, n)) for n in (3, 4)], [np.ones(3), np.ones(4)])
    with pytest.raises(FusionError, match="space 's' has widths 3, 4"):
        group(stats, name)


def test_balanced_equals_assignment_for_two_parents() -> None:
    stats = random_stats(2, n=8, seed=10)
    labels = group(stats, "balanced").labels
    assert labels is not None
    s, t = stats.importance
    distances = stats.distances()[:8, 8:]
    weight = s[:, None] * t[None, :] / (s[:, None] + t[None, :])
    rows, columns = linear_sum_assignment(weight * distances)
    found = {tuple(sorted((int(g), int(h)))) for g, h in enumerate_pairs(labels)}
    assert found == {tuple(sorted(pair)) for pair in zip(rows.tolist(), columns.tolist(), strict=True)} or (
        sum(weight[i, j] * distances[i, j] for i, j in enumerate_pairs(labels))
        == pytest.approx((weight * distances)[rows, columns].sum())
    )


def enumerate_pairs(labels: tuple[np.ndarray, ...]) -> list[tuple[int, int]]:
    return [(i, int(np.flatnonzero(labels[1] == g)[0])) for i, g in enumerate(labels[0])]


def test_balanced_takes_one_neuron_of_every_parent() -> None:
    grouping: Grouping = group(random_stats(4, n=7), "balanced")
    assert grouping.labels is not None
    assert all(sorted(own) == list(range(7)) for own in grouping.labels)


def test_automatic_tries_are_judged_by_held_out_samples() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 24)) * np.linspace(0.5, 2, 24)
    gram, held = features.T @ features, features[:30].T @ features[:30]
    stats = SpaceStats("s", (12, 12), gram, features.mean(0), 120, (np.ones(12), np.ones(12)), 8, held=held)
    grouping = group(stats, "kmeans", {"tries": "auto"})
    chosen = grouping.info["chosen"]
    assert 3 < chosen["tries"] <= 30
    assert 0 < chosen["held_out_error"] < 1
    again = group(stats, "kmeans", {"tries": "auto"})
    assert all((a == b).all() for a, b in zip(grouping.labels, again.labels, strict=True))
    labels = np.concatenate(grouping.labels)
    means = np.stack([features[:, labels == g].mean(1) for g in range(8)], 1)
    brute = ((features[:30] - means[:30][:, labels]) ** 2).sum()
    assert representation_error(held, np.ones(24), labels, 8) == pytest.approx(brute)
