"""Intervals and tests against scipy and against counting everything."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from fusion_engine.core.significance import compared, compared_apart, fisher, mcnemar, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 9), (512, 539), (9_999, 10_000)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    found = wilson(right, n)
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= right / n <= found.high <= 1


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="31 of 30"):
        wilson(31, 30)


@pytest.mark.parametrize(
    ("b", "c"), [(0, 0), (5, 5), (0, 1), (1, 0), (3, 12), (40, 61), (1_000, 900), (52_000, 50_800), (9, 40_000)]
)
def test_mcnemar_is_a_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-6, abs=1e-300)
    assert mcnemar(c, b) == mcnemar(b, c)


def test_mcnemar_counts_coins() -> None:
    """Every way in which 9 coins can fall, counted."""
    ways = [bin(way).count("1") for way in range(2**9)]
    for b in range(10):
        as_uneven = sum(abs(heads - 4.5) >= abs(b - 4.5) for heads in ways)
        assert mcnemar(b, 9 - b) == pytest.approx(as_uneven / 2**9)


def test_fisher_is_scipys() -> None:
    draw = random.Random(0)
    for _ in range(60):
        n, m = draw.randint(1, 400), draw.randint(1, 400)
        a, b = draw.randint(0, n), draw.randint(0, m)
        expected = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
        assert fisher(a, n, b, m) == pytest.approx(expected, rel=1e-5)


def test_comparisons_name_their_test_and_say_what_is_noise() -> None:
    near, far = compared(12, 9, 500), compared(40, 9, 500)
    assert (near.is_noise, far.is_noise) == (True, False)
    assert near.difference == pytest.approx(3 / 500)
    assert (near.test, near.only_first, near.only_second) == ("McNemar's exact test", 12, 9)
    other = compared_apart(450, 500, 200, 300)
    assert other.test == "Fisher's exact test"
    assert math.isclose(other.difference, 0.9 - 2 / 3)
    assert not other.is_noise
    assert other.only_first is None
