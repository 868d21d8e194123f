"""Rows of the model's picture: levels, merged levels, and similar neighbours folded where there are many."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fusion_engine.core.level_plan import Plan

MOST_ROWS = 14
_LONGEST_PERIOD = 4


@dataclass(frozen=True)
class Row:
    """One box: a level, levels merged by hand (`groups` has one), or similar neighbours folded into one box.

    groups: numbers of the groups it shows. levels: indices of all its levels. repeats: how many times a folded box
    repeats the same levels, 0 if it is not folded.
    """

    groups: tuple[int, ...]
    levels: tuple[int, ...]
    repeats: int = 0

    @property
    def merged(self) -> bool:
        """Whether it stands for levels merged by hand."""
        return not self.repeats and len(self.levels) > 1


def numbered(levels: Sequence[int]) -> str:
    """Neighbouring levels by number: '3', or '0–2' for several."""
    return str(levels[0]) if levels[0] == levels[-1] else f"{levels[0]}–{levels[-1]}"


def folded_rows(levels: Sequence[Mapping[str, Any]], groups: Plan, opened: Collection[int] | None = ()) -> list[Row]:
    """Boxes from input to output, at most MOST_ROWS where similar neighbours can be folded.

    opened: first groups of folded boxes that are to be shown in full; None shows everything.
    """
    single = [Row((g,), tuple(range(first, last + 1))) for g, (first, last) in enumerate(groups)]
    if opened is None or len(single) <= MOST_ROWS:
        return single
    folded = single
    alike = zip(*map(_likeness, levels), strict=True)
    for keys, period in zip(alike, (_LONGEST_PERIOD, _LONGEST_PERIOD, 1), strict=True):
        folded = _folded(keys, folded, period)
    unfolded = [[single[g] for g in row.groups] if row.groups[0] in opened else [row] for row in _packed(folded)]
    return list(chain.from_iterable(unfolded))


def _packed(given: Sequence[Row]) -> list[Row]:
    """What no likeness could fold: neighbours between the first and the last box, in equal parts."""
    if len(given) <= MOST_ROWS:
        return list(given)
    first, *middle, last = given
    share = -(-len(middle) // (MOST_ROWS - 2))
    parts = [middle[i : i + share] for i in range(0, len(middle), share)]
    return [first, *(_one(part, len(part)) if len(part) > 1 else part[0] for part in parts), last]


def _one(parts: Sequence[Row], repeats: int) -> Row:
    groups, indices = (tuple(n for row in parts for n in getattr(row, name)) for name in ("groups", "levels"))
    return Row(groups, indices, repeats)


def _folded(likeness: Sequence[Any], given: Sequence[Row], period: int) -> list[Row]:
    """Fold the longest repetitions until few enough rows are left. The first of three or more stays in sight."""
    keys = [
        likeness[row.levels[0]] if not row.repeats and not row.merged else ("alone", number)
        for number, row in enumerate(given)
    ]
    runs = []
    at = 0
    while at < len(given):
        count, width = max(
            ((_repeats(keys, at, p), p) for p in range(1, period + 1)),
            key=lambda run: (run[0] * run[1] if run[0] > 1 else 0, -run[1]),
        )
        if count < 2:
            at += 1
            continue
        end = at + count * width
        skip = width if count > 2 else 0
        runs.append((at + skip, end, (end - at - skip) // width))
        at = end
    chosen: dict[int, tuple[int, int]] = {}
    left = len(given)
    for start, end, count in sorted(runs, key=lambda run: run[0] - run[1]):
        if left > MOST_ROWS:
            chosen[start] = (end, count)
            left -= end - start - 1
    result, at = [], 0
    while at < len(given):
        end, count = chosen.get(at, (at + 1, 0))
        result.append(_one(given[at:end], count) if count else given[at])
        at = end
    return result


def _repeats(keys: Sequence[Any], at: int, period: int) -> int:
    """How many times the `period` keys from `at` come one after the other."""
    wanted, count = keys[at : at + period], 0
    while len(wanted) == period and keys[at + count * period : at + (count + 1) * period] == wanted:
        count += 1
    return count


def _likeness(level: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """What levels that are folded have in common: shape and size, the shape, or only the module."""
    pattern, shape = re.sub(r"\d+", "*", level["name"]), level["output_shape"]
    return (pattern, shape, level.get("parameters")), (pattern, shape), level["name"].split(".")[0]
