"""Is one network really better than another? A test for answers to the same samples, and one for different samples."""

import math
from dataclasses import dataclass

ALPHA = 0.05
"""Probability under chance alone from which on a difference is called noise."""


@dataclass(frozen=True)
class Comparison:
    """One network against another. difference: of their shares of right answers, first minus second. p: two-sided.
    test: the name of the test. only_first, only_second: samples that one alone gets right; None where the samples of
    the two differ."""

    difference: float
    p: float
    test: str
    only_first: int | None = None
    only_second: int | None = None

    @property
    def is_noise(self) -> bool:
        """Whether chance alone would do this at least one time in twenty."""
        return self.p >= ALPHA


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test: how easily n fair coins fall as unevenly, n being the samples that just one
    network gets right.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, with
    the binomial distribution in place of its approximation. 1 where they differ on no sample.
    """
    n, k = only_first + only_second, min(only_first, only_second)
    if 2 * k == n:
        return 1.0
    term, total = 1.0, 0.0  # relative to the largest, that of k: the sum of n choose j, j <= k
    for j in range(k, -1, -1):
        total += term
        term *= j / (n - j + 1)
        if term < 1e-18 * total:
            break
    return min(1.0, 2 * total * math.exp(_log_choose(n, k) - n * math.log(2)))


def fisher(first: int, n_first: int, second: int, n_second: int) -> float:
    """Two-sided p of Fisher's exact test, for networks that were measured on different samples: `first` of n_first and
    `second` of n_second are right. The probability of all tables with these margins that are no likelier than this one.

    Fisher 1935, "The logic of inductive inference", Journal of the Royal Statistical Society 98.
    """
    right, n = first + second, n_first + n_second
    low, high = max(0, right - n_second), min(right, n_first)
    if low == high:
        return 1.0
    mean = right * n_first / n
    spread = math.sqrt(mean * (n - right) * n_second / (n * max(n - 1, 1)))
    reach = 12 * spread + 20  # what is further from the mean adds nothing that a double would show

    def log_p(a: int) -> float:
        return _log_choose(n_first, a) + _log_choose(n_second, right - a) - _log_choose(n, right)

    bound = log_p(first) + 1e-7  # tables that are as likely but for rounding count
    tables = map(log_p, range(max(low, math.floor(mean - reach)), min(high, math.ceil(mean + reach)) + 1))
    return min(1.0, sum(math.exp(value) for value in tables if value <= bound))


def compared(only_first: int, only_second: int, n: int) -> Comparison:
    """Two networks on the same `n` samples, by McNemar's test."""
    p = mcnemar(only_first, only_second)
    return Comparison((only_first - only_second) / n, p, "McNemar's exact test", only_first, only_second)


def compared_apart(first: int, n_first: int, second: int, n_second: int) -> Comparison:
    """Two networks on different samples, by Fisher's test."""
    difference = first / n_first - second / n_second
    return Comparison(difference, fisher(first, n_first, second, n_second), "Fisher's exact test")


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
