"""Points in the plane to tell apart: the problems that come with the program, and those somebody has drawn. NumPy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.registry import nearest
from ..core.seeds import numpy_generator
from ..core.types import Array, Indices

MOST_POINTS = 400
FEWEST_OF_A_CLASS = 5
MOST_CLASSES = 3
REACH = 3.0
"""Coordinates lie within [-REACH, REACH]."""

Drawn = tuple[Array, Indices]


def drawn(problem: str, number: int, stream: str) -> Drawn:
    """`number` points (n, 2) and their classes (n,) of a problem that has a name. stream: 'train' or 'test'. DataError
    for another name."""
    if problem not in _MAKERS:
        raise DataError(f"there is no problem {problem!r}{nearest(problem, _MAKERS)}; there are {', '.join(_MAKERS)}")
    x, y = _MAKERS[problem](number, numpy_generator(0, "problem", problem, stream))
    return np.clip(x, -REACH, REACH).astype(np.float32).astype(np.float64).round(4), y


def checked(points: Any) -> Drawn:
    """Points that somebody has drawn: [[x, y, class], ...]. DataError, in a line that says what to add or leave out,
    where networks cannot be trained on them."""
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise DataError("draw some points first: a list of [x, y, class]")
    if len(points) > MOST_POINTS:
        raise DataError(f"{len(points)} points are too many; a drawing holds at most {MOST_POINTS}")
    for point in points:
        fits = isinstance(point, Sequence) and len(point) == 3 and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in point
        )
        if not fits or not all(abs(value) <= REACH for value in point[:2]) or point[2] not in range(MOST_CLASSES):
            raise DataError(
                f"a point is [x, y, class] with coordinates from {-REACH:g} to {REACH:g} and a class from 0 to "
                f"{MOST_CLASSES - 1}; this is none: {str(point)[:60]}"
            )
    y = np.array([point[2] for point in points], dtype=np.int64)
    kinds, counts = np.unique(y, return_counts=True)
    if len(kinds) < 2 or counts.min() < FEWEST_OF_A_CLASS:
        raise DataError(f"draw at least two classes, with at least {FEWEST_OF_A_CLASS} points of each")
    if kinds.tolist() != list(range(len(kinds))):
        raise DataError("the classes are to be the first ones: use class 0 and 1, or 0, 1 and 2")
    return np.array([point[:2] for point in points], dtype=np.float64), y


def _spiral(n: int, random: np.random.Generator) -> Drawn:
    y = np.arange(n) % 3
    r = 0.15 + 0.85 * random.random(n)
    angle = 4.2 * r + 2 * np.pi * y / 3 + random.normal(0, 0.12, n)
    return 2.4 * np.stack([r * np.cos(angle), r * np.sin(angle)], 1), y


def _moons(n: int, random: np.random.Generator) -> Drawn:
    y = np.arange(n) % 2
    angle = np.pi * random.random(n)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    x = np.where(y[:, None] == 0, upper, lower) + random.normal(0, 0.12, (n, 2))
    return (x - [0.5, 0.25]) * [1.6, 2.0], y


def _rings(n: int, random: np.random.Generator) -> Drawn:
    y = np.arange(n) % 2
    angle = 2 * np.pi * random.random(n)
    r = np.where(y == 0, 0.8, 2.1) + random.normal(0, 0.2, n)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], 1), y


def _quarters(n: int, random: np.random.Generator) -> Drawn:
    """Exclusive or: opposite quarters belong together."""
    x = random.uniform(-2.2, 2.2, (n, 2))
    x += 0.15 * np.sign(x)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


_MAKERS: dict[str, Callable[[int, np.random.Generator], Drawn]] = {
    "spiral": _spiral, "moons": _moons, "rings": _rings, "quarters": _quarters,
}
