"""Agreement of rankings and groupings, against SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from pages.components.groupings import agreement


@pytest.mark.parametrize("levels", [3, 1000])
def test_spearman_is_scipys(levels: int) -> None:
    rng = np.random.default_rng(levels)
    first = rng.integers(levels, size=50)
    second = first + rng.integers(levels, size=50)
    assert agreement.spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_spearman_of_equal_values_is_no_number() -> None:
    assert np.isnan(agreement.spearman(np.ones(4), np.arange(4)))


def test_ranks_begin_with_the_largest_and_share_ties() -> None:
    assert agreement.ranks(np.array([2, 5, 2, 7])).tolist() == [3.5, 2, 3.5, 1]


@pytest.mark.parametrize("groups", [2, 7, 40])
def test_adjusted_rand_is_scikit_learns(groups: int) -> None:
    rng = np.random.default_rng(groups)
    first = rng.integers(groups, size=60)
    second = np.where(rng.random(60) < 0.4, rng.integers(groups, size=60), first)
    assert agreement.adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


@pytest.mark.parametrize("first", [[0], [0, 0, 0], [0, 1, 2]])
def test_adjusted_rand_of_the_same_groups_is_one(first: list[int]) -> None:
    assert agreement.adjusted_rand(np.array(first), np.array(first) + 5) == adjusted_rand_score(first, first) == 1


def test_adjusted_rand_of_all_together_against_all_alone() -> None:
    assert agreement.adjusted_rand(np.zeros(5, int), np.arange(5)) == adjusted_rand_score([0] * 5, range(5)) == 0


def test_other_numbers_for_the_same_groups_move_nothing() -> None:
    first = np.array([0, 0, 1, 2, 2, 2])
    assert not agreement.moved(first, (first + 1) % 3).any()
    assert not agreement.mates_changed(first, (first + 1) % 3).any()


def test_who_leaves_its_group_has_moved() -> None:
    first, second = np.array([0, 0, 0, 1, 1]), np.array([4, 4, 3, 3, 3])
    assert agreement.moved(first, second).tolist() == [False, False, True, False, False]
    # 0 and 1 lose one of three mates; 2 shares only itself of five; 3 and 4 get one more.
    assert agreement.mates_changed(first, second) == pytest.approx([1 / 3, 1 / 3, 4 / 5, 1 / 3, 1 / 3])


def test_flows_count_neurons_by_pair_of_groups() -> None:
    a, b, n = agreement.flows(np.array([0, 0, 0, 1, -1]), np.array([2, 2, 1, 1, 1]))
    assert list(zip(a.tolist(), b.tolist(), n.tolist(), strict=True)) == [(-1, 1, 1), (0, 1, 1), (0, 2, 2), (1, 1, 1)]
