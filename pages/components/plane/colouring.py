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
    the grey ones are, '' where there are none."""

    title: str
    values: np.ndarray
    palette: Sequence[str]
    names: Sequence[str] | None = None
    other: str = ""


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


def lost_by_group(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T,) per cent of its group's variance that merging loses; not-a-number for neurons in no group."""
    error = np.append(100 * arrays["group_error"], np.nan)
    return error[arrays["group"]]
