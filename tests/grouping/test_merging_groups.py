"""Groupings that merge and keep: ZipIt, Ward, spectral, partial permutation, automatic choice, against oracles."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.grouping import group
from fusion_engine.grouping.auto import lost
from fusion_engine.grouping.clustering.spectral import affinities
from fusion_engine.grouping.clustering.zipit import separate_widths
from fusion_engine.grouping.matching.partial_permutation import partial_widths
from fusion_engine.grouping.planning import WidthPlan
from fusion_engine.stats import SpaceStats


def stats_of(features: list[np.ndarray], size: int, importance: list[np.ndarray] | None = None, **more) -> SpaceStats:
    joint = np.concatenate(features, 1)
    sizes = tuple(f.shape[1] for f in features)
    scores = tuple(importance or [np.ones(n) for n in sizes])
    return SpaceStats("s", sizes, joint.T @ joint, joint.mean(0), len(joint), scores, size, **more)


def random_features(*sizes: int, rows: int = 40, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((rows, n)) for n in sizes]


def joined(grouping) -> np.ndarray:
    return np.concatenate(grouping.labels)


def naive_zipit(correlation: np.ndarray, parent: np.ndarray, groups: int, alpha: float, beta: float) -> list[set[int]]:
    """The rule as it reads: the best allowed pair, smaller similarities times alpha, a budget for each parent."""
    sets = [{i} for i in range(len(correlation))]
    alike = {(i, j): correlation[i, j] for i, j in itertools.permutations(range(len(correlation)), 2)}
    alive = list(range(len(correlation)))
    parents = set(parent.tolist())
    left = {p: int((len(parent) - groups) * beta / len(parents) + 1e-9) for p in parents}
    while len(alive) > groups:
        def owner(i: int) -> int:
            owners = {int(parent[x]) for x in sets[i]}
            return owners.pop() if len(owners) == 1 else -1

        allowed = [
            (i, j) for i, j in itertools.combinations(alive, 2)
            if owner(i) != owner(j) or owner(i) < 0 or left[owner(i)] > 0
        ]  # fmt: skip
        i, j = max(allowed, key=lambda pair: alike[pair])
        if owner(i) == owner(j) and owner(i) >= 0:
            left[owner(i)] -= 1
        alive.remove(j)
        sets[i] |= sets[j]
        for other in alive:
            if other != i:
                alike[i, other] = alike[other, i] = alpha * min(alike[i, other], alike[j, other])
    return [sets[i] for i in alive]


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_zipit_follows_its_rule(alpha: float, beta: float) -> None:
    features = random_features(8, 8, seed=1)
    stats = stats_of(features, 8)
    labels = joined(group(stats, "zipit", {"alpha": alpha, "beta": beta}))
    parent = np.repeat([0, 1], 8)
    expected = naive_zipit(np.corrcoef(np.concatenate(features, 1).T), parent, 8, alpha, beta)
    assert {frozenset(np.flatnonzero(labels == g).tolist()) for g in range(8)} == set(map(frozenset, expected))
    if beta == 0:
        assert all(len(set(labels[:8][labels[:8] == g])) <= 1 for g in range(8))


def test_zipit_within_a_parent_by_hand() -> None:
    """Neurons 0 and 1 of the first parent are the same: they are merged before any pair of two parents."""
    base = np.random.default_rng(2).standard_normal((30, 4))
    first, second = base[:, [0, 0, 1]], base[:, [2, 3, 1]]
    grouping = group(stats_of([first, second], 4), "zipit", {"beta": 1.0})
    np.testing.assert_array_equal(joined(grouping), [0, 0, 1, 2, 3, 1])
    np.testing.assert_array_equal(grouping.merge[0][0], [0.5, 0.5, 0])
    np.testing.assert_array_equal(grouping.unmerge[0][:, 0], [1, 1, 0])


def test_zipit_of_one_parent_is_bound_by_no_budget() -> None:
    """There is nothing but its own neurons to merge: each twin with the other."""
    random = np.random.default_rng(9)
    twins = np.repeat(random.standard_normal((50, 6)), 2, 1) + 0.1 * random.standard_normal((50, 12))
    labels = joined(group(stats_of([twins], 6), "zipit"))
    np.testing.assert_array_equal(labels, np.repeat(np.arange(6), 2))


def test_zipit_with_room_for_all_merges_none() -> None:
    grouping = group(stats_of(random_features(3, 4), 7), "zipit")
    np.testing.assert_array_equal(np.concatenate(grouping.merge, 1), np.eye(7))


@pytest.mark.parametrize("groups", [2, 5, 9])
def test_ward_equals_scipy(groups: int) -> None:
    features = random_features(7, 6, seed=3)
    labels = joined(group(stats_of(features, groups), "agglomerative"))
    points = np.concatenate(features, 1).T
    oracle = fcluster(linkage(points, "ward"), groups, "maxclust")
    assert adjusted_rand_score(labels, oracle) == 1


def test_ward_counts_weight_as_copies() -> None:
    """A neuron of importance 3 is one that is there three times."""
    features = random_features(5, 5, seed=4)
    scores = np.array([1, 3, 2, 1, 1, 2, 1, 1, 3, 1])
    labels = joined(group(stats_of(features, 4, [scores[:5], scores[5:]]), "agglomerative"))
    points = np.repeat(np.concatenate(features, 1).T, scores, 0)
    oracle = fcluster(linkage(points, "ward"), 4, "maxclust")
    assert adjusted_rand_score(np.repeat(labels, scores), oracle) == 1


def test_spectral_equals_scikit_learn_on_clear_clusters() -> None:
    random = np.random.default_rng(5)
    centres, member = 4 * random.standard_normal((40, 4)), random.integers(4, size=24)
    member[:4] = range(4)
    joint = centres[:, member] + 0.3 * random.standard_normal((40, 24))
    stats = stats_of([joint[:, :12], joint[:, 12:]], 4)
    labels = joined(group(stats, "spectral"))
    oracle = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(affinities(stats, 1.0))
    assert adjusted_rand_score(labels, member) == adjusted_rand_score(oracle, member) == 1


def test_affinities_equal_their_formula() -> None:
    features = random_features(3, 3)
    points = np.concatenate(features, 1).T
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    sigma = 0.5 * np.median(np.sqrt(squares[np.triu_indices(6, 1)]))
    np.testing.assert_allclose(affinities(stats_of(features, 3), 0.5), np.exp(-squares / (2 * sigma**2)))


@pytest.mark.parametrize("size", [5, 7, 10])
def test_partial_permutation_keeps_the_best_pairs(size: int) -> None:
    first, noise = random_features(5, 5, seed=6)
    second = (first + noise * [0.1, 0.6, 0.3, 0.9, 0.2])[:, [4, 3, 2, 1, 0]]
    grouping = group(stats_of([first, second], size), "partial_permutation")
    np.testing.assert_array_equal(grouping.labels[0], range(5))
    pairs = {int(g) for g in grouping.labels[1] if g < 5}
    best = [0, 4, 2, 1, 3]  # by how little noise there is
    assert pairs == set(best[: 10 - size])
    assert all(4 - int(np.flatnonzero(grouping.labels[1] == g)[0]) == g for g in pairs)
    product = sum(m @ u for m, u in zip(grouping.merge, grouping.unmerge, strict=True))
    np.testing.assert_allclose(product, np.eye(size))


def test_partial_permutation_takes_no_other_sizes() -> None:
    with pytest.raises(FusionError, match="4 fused neurons cannot be made of parents with 5, 5"):
        group(stats_of(random_features(5, 5), 4), "partial_permutation")


def plan_of(sizes: dict[str, int]) -> WidthPlan:
    """A chain of layers 10 -> a -> b -> 10 without biases."""

    def parameters(changed) -> int:
        a, b = (changed.get(name, sizes[name]) for name in ("a", "b"))
        return 10 * a + a * b + 10 * b

    return WidthPlan({n: (s, s) for n, s in sizes.items()}, {"heads"}, {"a": 0, "b": 1}, 3, parameters)


def test_widths_of_a_ratio_and_of_a_budget() -> None:
    plan = plan_of({"a": 20, "b": 30})
    assert partial_widths(plan, ratio=0.5, budget=None) == {"a": 30, "b": 45}
    found = partial_widths(plan, ratio=0.5, budget=1.5)
    assert plan.parameters(found) <= 1.5 * plan.parameters({})
    larger = {n: s + 1 for n, s in found.items()}
    assert plan.parameters(larger) > 1.5 * plan.parameters({})
    assert partial_widths(plan, ratio=0.5, budget=8.0) == {"a": 40, "b": 60}


def test_widths_of_ratios_by_space() -> None:
    plan = plan_of({"a": 20, "b": 30})

    def widths(budget: float | None = None, **ratio: float) -> dict[str, int]:
        return partial_widths(plan, ratio=ratio, budget=budget)

    assert widths(others=0.5, a=0.2) == {"a": 36, "b": 45}
    assert widths(others=0.5, a=0.0, b=1.0, heads=1.0) == {"a": 40, "b": 30}
    assert widths(others=0.3, a=0.3) == widths(others=0.9, a=0.3, b=0.3) == partial_widths(plan, ratio=0.3, budget=None)
    found = widths(1.5, others=0.5, b=1.0)
    assert found["b"] == 30
    assert plan.parameters(found) <= 1.5 * plan.parameters({}) < plan.parameters({**found, "a": found["a"] + 1})
    for wrong, words in (
        ({"aa": 0.5}, "there is no space 'aa'; did you mean 'a'"),
        ({"heads": 0.5}, "space 'heads' cannot change its width here"),
        ({"a": 0.0, "budget": 1.1}, "budget 1.1 is too small"),
    ):
        with pytest.raises(RecipeError, match=words):
            widths(**{"others": 0.5, **wrong})


def test_widths_of_one_parent() -> None:
    plan = replace(plan_of({"a": 20, "b": 30}), sizes={"a": (20,), "b": (30,)})
    for budget in (None, 2.0):
        assert partial_widths(plan, ratio=0.5, budget=budget) == {"a": 20, "b": 30}


def test_widths_behind_a_level() -> None:
    plan = plan_of({"a": 20, "b": 30})
    assert separate_widths(plan, until=1.0) == {}
    assert separate_widths(plan, until=0.4) == {"b": 60}
    assert separate_widths(plan, until=0.0) == {"a": 40, "b": 60}


def test_loss_of_a_grouping_by_definition() -> None:
    features, scores = random_features(5, 5, seed=7), [np.arange(1.0, 6.0), np.ones(5)]
    stats = stats_of(features, 5, scores)
    grouping = group(stats, "balanced")
    fused = sum(f @ m.T for f, m in zip(features, grouping.merge, strict=True))
    parts = zip(features, grouping.unmerge, scores, strict=True)
    error = sum((s * (f - fused @ u.T) ** 2).sum() for f, u, s in parts)
    total = sum((s * f**2).sum() for f, s in zip(features, scores, strict=True))
    assert lost(stats, grouping) == pytest.approx(error / total)


def test_auto_takes_what_loses_least_on_held_out_samples() -> None:
    features = random_features(8, 8, rows=90, seed=8)
    held = np.concatenate(features, 1)[:30]
    more = {"held": held.T @ held, "held_means": held.mean(0), "held_count": 30}
    stats = stats_of(features, 8, **more)
    grouping = group(stats, "auto", {"candidates": "identity, kmeans,permutation"})
    chosen = grouping.info["chosen"]
    assert set(chosen["held_out_error"]) == {"identity", "kmeans", "permutation"}
    assert chosen["method"] == grouping.method == min(chosen["held_out_error"], key=chosen["held_out_error"].get)
    seen, apart = stats.split()
    for name, error in chosen["held_out_error"].items():
        assert error == pytest.approx(lost(apart, group(seen, name)))
    again = group(replace(stats, held=None, held_means=None, held_count=0), chosen["method"])
    assert all((a == b).all() for a, b in zip(grouping.merge, again.merge, strict=True))


def test_auto_leaves_out_what_cannot_group() -> None:
    stats = stats_of(random_features(4, 6), 4)
    chosen = group(stats, "auto", {"candidates": "balanced,kmeans"}).info["chosen"]
    assert chosen["method"] == "kmeans"
    assert "needs equal widths" in chosen["refused"]["balanced"]
    with pytest.raises(FusionError, match="needs equal widths"):
        group(stats, "auto", {"candidates": "balanced"})


@pytest.mark.parametrize(
    ("candidates", "words"),
    [("kmens", "did you mean 'kmeans'"), ("auto", "leave it out"), ("weight_matching", "leave it out"), (" ", "name")],
)
def test_bad_candidates(candidates: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        group(stats_of(random_features(3, 3), 3), "auto", {"candidates": candidates})


@pytest.mark.parametrize("name", ["zipit", "agglomerative", "spectral"])
def test_more_groups_than_neurons(name: str) -> None:
    with pytest.raises(FusionError, match="7 groups out of 6"):
        group(stats_of(random_features(3, 3), 7), name)


def test_partial_permutation_is_for_two() -> None:
    with pytest.raises(RecipeError, match="at most 2 parents"):
        Recipe.from_mapping({"grouping": "partial_permutation"}).checked(3)
