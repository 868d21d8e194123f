"""Groupings that align parents with something: against brute force, POT, scikit-learn's CCA and their equations."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
from scipy.linalg import eigh, sqrtm
from sklearn.cross_decomposition import CCA

from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.core.types import Grouping
from fusion_engine.grouping import group
from fusion_engine.grouping.matching.alignment import align
from fusion_engine.grouping.matching.cca import canonical_map
from fusion_engine.grouping.matching.transport import costs_to, transport_plan
from fusion_engine.stats import SpaceStats

ALIGNING = ("permutation", "optimal_transport", "cca")
MODES = ("reference", "all_pairs", "barycentre")


def stats_of(features: list[np.ndarray], importance: list[np.ndarray] | None = None, **more) -> SpaceStats:
    joint = np.concatenate(features, 1)
    sizes = tuple(f.shape[1] for f in features)
    return SpaceStats(
        "s", sizes, joint.T @ joint, joint.mean(0), len(joint),
        tuple(importance or [np.ones(n) for n in sizes]), more.pop("size", sizes[0]), **more,
    )  # fmt: skip


def features_of(parents: int, n: int = 5, rows: int = 60, seed: int = 0) -> list[np.ndarray]:
    """Noisy permuted copies of common features."""
    random = np.random.default_rng(seed)
    common = random.standard_normal((rows, n)) @ random.standard_normal((n, n)) + random.standard_normal(n)
    return [common[:, random.permutation(n)] + 0.5 * random.standard_normal((rows, n)) for _ in range(parents)]


@pytest.mark.parametrize("score", ["correlation", "inner_product"])
def test_permutation_is_the_best_of_all(score: str) -> None:
    first, second = features_of(2)
    labels = group(stats_of([first, second]), "permutation", {"score": score}).labels
    assert labels is not None
    products = np.corrcoef(first.T, second.T)[:5, 5:] if score == "correlation" else first.T @ second
    best = max(itertools.permutations(range(5)), key=lambda p: sum(products[i, p[i]] for i in range(5)))
    assert [int(np.flatnonzero(labels[1] == i)[0]) for i in range(5)] == list(best)


def test_permuted_parent_by_hand() -> None:
    """Two parents of three neurons, the second in the order 2, 0, 1: P^T brings them together."""
    first = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 1]])
    grouping = group(stats_of([first, first[:, [2, 0, 1]]]), "permutation")
    np.testing.assert_array_equal(grouping.merge[0], np.eye(3) / 2)
    np.testing.assert_array_equal(grouping.merge[1], np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]) / 2)
    np.testing.assert_array_equal(grouping.unmerge[1], 2 * grouping.merge[1].T)


def test_importance_weighs_the_parents() -> None:
    first, second = features_of(2)
    s, t = np.arange(1.0, 6.0), np.full(5, 2.0)
    grouping = group(stats_of([first, second], [s, t]), "permutation", {"weights": "importance"})
    np.testing.assert_allclose(grouping.merge[0].sum(1), s / (s + t))
    np.testing.assert_allclose(grouping.merge[0].sum(1) + grouping.merge[1].sum(1), 1)


@pytest.mark.parametrize("name", ALIGNING)
@pytest.mark.parametrize("against", MODES)
def test_every_mode_puts_permuted_copies_together(name: str, against: str) -> None:
    random = np.random.default_rng(2)
    common = random.standard_normal((50, 6))
    orders = [random.permutation(6) for _ in range(4)]
    grouping = group(stats_of([common[:, o] for o in orders]), name, {"against": against, "reference": 3})
    merged = sum(common[:, o] @ m.T for o, m in zip(orders, grouping.merge, strict=True))
    np.testing.assert_allclose(merged, common[:, orders[2]], atol=1e-7)


@pytest.mark.parametrize("against", MODES)
def test_modes_agree_more_and_more(against: str) -> None:
    """Each mode raises the summed correlation over the pairs it looks at, measured over all pairs of three parents."""
    features = features_of(3, n=8, rows=40, seed=5)

    def agreement(grouping: Grouping) -> float:
        aligned = [(f - f.mean(0)) / f.std(0) @ (3 * m.T) for f, m in zip(features, grouping.merge, strict=True)]
        return sum(float((a * b).sum()) for a, b in itertools.combinations(aligned, 2))

    stats = stats_of(features)
    found = agreement(group(stats, "permutation", {"against": against}))
    assert found >= agreement(group(stats, "permutation")) - 1e-9
    assert found > agreement(group(stats, "identity"))


def test_order_of_the_steps() -> None:
    def steps(parents: int, reference: int, against: str) -> list[tuple[int, tuple[int, ...]]]:
        seen: list[tuple[int, tuple[int, ...]]] = []
        align(parents, reference, against, lambda p, others: bool(seen.append((p, others))))  # type: ignore[arg-type]
        return seen

    assert steps(3, 2, "reference") == [(0, (1,)), (2, (1,))]
    assert steps(3, 1, "all_pairs")[2:] == [(1, (0, 2)), (2, (0, 1))]
    assert steps(2, 1, "all_pairs") == [(1, (0,))]
    assert steps(2, 1, "barycentre")[1:] == [(0, (0, 1)), (1, (0, 1))]


@pytest.mark.parametrize("normalise", [True, False])
def test_transport_equals_pot(normalise: bool) -> None:
    """Masses from importance, features of different widths, costs from the features themselves."""
    random = np.random.default_rng(3)
    first, second = random.standard_normal((30, 4)), random.standard_normal((30, 6))
    s, t = random.random(4) + 0.1, random.random(6) + 0.1
    a, b = (f / np.linalg.norm(f, axis=0) if normalise else f for f in (first, second))
    costs = np.linalg.norm(b[:, :, None] - a[:, None, :], axis=0)
    plan = ot.emd(t / t.sum(), s / s.sum(), costs)
    parameters = {"marginals": "importance", "normalise": normalise}
    grouping = group(stats_of([first, second], [s, t]), "optimal_transport", parameters)
    np.testing.assert_allclose(grouping.merge[0], np.eye(4) / 2)
    np.testing.assert_allclose(grouping.merge[1], 0.5 * plan.T / (s / s.sum())[:, None], atol=1e-9)
    np.testing.assert_allclose(grouping.unmerge[1], plan / (t / t.sum())[:, None], atol=1e-9)
    assert grouping.labels is None


def test_equal_masses_are_an_assignment() -> None:
    costs = np.random.default_rng(4).random((7, 7))
    mass = np.full(7, 1 / 7)
    plan = transport_plan(costs, mass, mass)
    assert (plan * costs).sum() == pytest.approx(float(ot.emd2(mass, mass, costs)))
    np.testing.assert_allclose(plan.sum(0), mass)


def test_sinkhorn_equals_pot_and_spreads_mass() -> None:
    costs = np.random.default_rng(5).random((6, 6))
    mass = np.full(6, 1 / 6)
    plan = transport_plan(costs, mass, mass, 0.1)
    np.testing.assert_allclose(plan, ot.sinkhorn(mass, mass, costs, 0.1 * costs.mean(), numItermax=5000), atol=1e-8)
    assert (plan > 1e-6).sum() > 6
    sharp = group(stats_of(features_of(2)), "optimal_transport", {"regularisation": 0.2})
    np.testing.assert_allclose(sharp.merge[1].sum(1), 0.5)


def test_costs_to_a_mean() -> None:
    first, second = features_of(2)
    target = np.concatenate([np.eye(5), np.eye(5)], 1) / 2
    expected = np.linalg.norm(second[:, :, None] - ((first + second) / 2)[:, None, :], axis=0)
    np.testing.assert_allclose(costs_to(stats_of([first, second]), target, 1), expected)


def test_cca_aligns_as_its_equation_says() -> None:
    """S_yy^-1/2 V U^T S_xx^1/2 for row vectors, and its inverse, from matrix square roots (Horoi et al. 2024)."""
    x, y = features_of(2, rows=300, seed=6)
    gamma = 0.1
    xx, yy, xy = np.cov(x.T, bias=True), np.cov(y.T, bias=True), np.cov(x.T, y.T, bias=True)[:5, 5:]
    xx, yy = (c + gamma * np.trace(c) / 5 * np.eye(5) for c in (xx, yy))
    root, other = sqrtm(xx).real, sqrtm(yy).real
    u, _, v = np.linalg.svd(np.linalg.inv(root) @ xy @ np.linalg.inv(other))
    there = np.linalg.inv(other) @ v.T @ u.T @ root
    grouping = group(stats_of([x, y]), "cca", {"gamma": gamma})
    np.testing.assert_allclose(2 * grouping.merge[1].T, there, atol=2e-2)  # a thousandth goes to the matching
    np.testing.assert_allclose(grouping.unmerge[1].T @ there, np.eye(5), atol=2e-2)
    np.testing.assert_allclose(2 * grouping.merge[1] @ grouping.unmerge[1], np.eye(5), atol=1e-12)


def test_canonical_correlations_equal_scikit_learns() -> None:
    """Whitened features are turned onto each other: their correlations sum to the canonical ones."""
    x, y = features_of(2, n=4, rows=400, seed=7)
    oracle = CCA(4, scale=False, max_iter=5000, tol=1e-12).fit(x, y)
    expected = [abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(*(z.T for z in oracle.transform(x, y)), strict=True)]
    xc, yc = x - x.mean(0), y - y.mean(0)
    xx, yy = xc.T @ xc / 400, yc.T @ yc / 400
    turn, _ = canonical_map(eigh(xx), xc.T @ yc / 400, eigh(yy), 1e-9, np.arange(4))
    white = np.linalg.inv(sqrtm(xx).real)
    turned = white @ turn @ yc.T
    assert np.trace(white @ xc.T @ turned.T) / 400 == pytest.approx(sum(expected), rel=2e-3)


def test_gamma_is_chosen_by_held_out_correlation() -> None:
    features = features_of(2, n=6, rows=90, seed=8)
    joint = np.concatenate(features, 1)
    held = joint[:30]
    stats = stats_of(features, held=held.T @ held, held_means=held.mean(0), held_count=30)
    chosen = group(stats, "cca", {"gamma": "auto"}).info["chosen"]
    assert chosen["gamma"] in (0.01, 0.1, 1.0, 10.0)
    assert 0 < chosen["held_out_correlation"] <= 1
    seen, _ = stats.split()
    np.testing.assert_allclose(seen.covariance, np.cov(joint[30:].T, bias=True), atol=1e-10)

    def agreement(gamma: float) -> float:
        merge = group(seen, "cca", {"gamma": gamma}).merge[1] * 2
        pairs = zip(held[:, :6].T, merge @ held[:, 6:].T, strict=True)
        return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))

    assert chosen["held_out_correlation"] == pytest.approx(agreement(chosen["gamma"]))
    assert chosen["held_out_correlation"] == pytest.approx(max(map(agreement, (0.01, 0.1, 1.0, 10.0))))


def test_cca_finds_a_rotation_that_no_permutation_undoes() -> None:
    random = np.random.default_rng(9)
    x = random.standard_normal((200, 5)) * [1, 2, 3, 4, 5]
    turn, _ = np.linalg.qr(random.standard_normal((5, 5)))
    grouping = group(stats_of([x, x @ turn]), "cca", {"gamma": 1e-6})
    np.testing.assert_allclose(x @ turn @ grouping.merge[1].T * 2, x, atol=0.05)


def test_references_that_do_not_exist_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"grouping\.reference: there is no parent 3; there are 2"):
        Recipe.from_mapping({"grouping": {"method": "permutation", "reference": 3}}).checked(2)
    stats = stats_of([np.eye(5)[:, :3], np.eye(5)[:, :4]])
    with pytest.raises(FusionError, match="reference parent 2 has 4"):
        group(stats, "optimal_transport", {"reference": 2})


@pytest.mark.parametrize("name", ["optimal_transport", "cca", "weight_matching"])
def test_other_widths_are_refused_early(name: str) -> None:
    with pytest.raises(RecipeError, match="keeps the width; for another width use grouping 'kmeans'"):
        Recipe.from_mapping({"grouping": name, "width": 0.5}).checked(2)
