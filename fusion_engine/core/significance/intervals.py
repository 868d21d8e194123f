"""The interval that a share of right answers lies in, as far as the samples tell."""

import math
from typing import NamedTuple

Z95 = 1.959963984540054
"""The standard normal's 97.5 % point: intervals of 95 %."""


class Interval(NamedTuple):
    """Shares of one."""

    low: float
    high: float


def wilson(right: float, n: int, z: float = Z95) -> Interval | None:
    """Wilson's score interval of a share, `right` of `n` independent samples; None for no samples.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22. Unlike the textbook's
    p +- z sqrt(p (1 - p) / n) it never leaves [0, 1] and is no point at 0 or n right. ValueError unless 0 <= right
    <= n.
    """
    if n == 0:
        return None
    if not 0 <= right <= n:
        raise ValueError(f"{right} of {n} samples cannot be right")
    share, square = right / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # At the ends the bound is the share itself; rounding may leave it by an ulp.
    return Interval(0.0 if right == 0 else max(0.0, middle - half), 1.0 if right == n else min(1.0, middle + half))
