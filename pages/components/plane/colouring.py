"""What the colours of neurons say. Pure functions from arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..shared.theme import GROUPS, PARENTS

# Cividis: even steps of lightness, told apart with any colour vision (Nunez, Anderton & Renslow 2018).
SCALE = ("#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74", "#C3B369", "#E1CC55", "#FEE838")
_MOST = 7


@dataclass(frozen=True)
class Colouring:
    """title: what is shown. values: (T,) a category's number, -1 for the rest; or, where names is None, a number on a
    scale, not-a-number where there is none. palette: a colour for each category, or the scale's colours. other: what
    the grey ones are, '' where there are none. tell: whether a neuron's text says its category: groups and parents
    stand there anyway."""

    title: str
    values: np.ndarray
    palette: Sequence[str]
    names: Sequence[str] | None = None
    other: str = ""
    tell: bool = False


def by_group(arrays: Mapping[str, np.ndarray], chosen: Sequence[int] = (), title: str = "Groups") -> Colouring:
    """A colour for each of the chosen groups, or for the seven most important; the others share a grey."""
    importance = arrays["group_importance"]
    shown = list(chosen)[:_MOST] or np.argsort(-importance, kind="stable")[:_MOST].tolist()
    place = np.full(len(importance) + 1, -1)  # the last for neurons that are in no group
    place[shown] = np.arange(len(shown))
    others = len(importance) - len(shown)
    rest = f"{others} other {'group' if others == 1 else 'groups'}" if others else ""
    if (arrays["group"] < 0).any():
        rest = f"{rest}, or none" if rest else "no group"
    return Colouring(title, place[arrays["group"]], GROUPS[: len(shown)], [f"group {g}" for g in shown], rest)


def by_parent(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Colouring:
    return Colouring("Parents", arrays["parent"] % 8, PARENTS[: len(names)], list(names))


def by_number(title: str, values: np.ndarray) -> Colouring:
    """A scale from the smallest to the largest value."""
    numbers = np.asarray(values, np.float64)
    missing = not np.isfinite(numbers).all()
    return Colouring(title, np.where(np.isfinite(numbers), numbers, np.nan), SCALE, other="none" if missing else "")


def by_class(title: str, classes: np.ndarray) -> Colouring:
    """A colour for each of the eight most frequent classes; the others share a grey."""
    found, counts = np.unique(classes, return_counts=True)
    shown = sorted(found[np.argsort(-counts, kind="stable")][: len(PARENTS)].tolist())
    values = np.select([classes == c for c in shown], range(len(shown)), -1)
    names = [f"class {c}" for c in shown]
    other = "other classes" if len(found) > len(shown) else ""
    return Colouring(title, values, PARENTS[: len(shown)], names, other, tell=True)


def lost_by_group(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T,) per cent of its group's variance that merging loses; not-a-number for neurons in no group."""
    error = np.append(100 * arrays["group_error"], np.nan)
    return error[arrays["group"]]
