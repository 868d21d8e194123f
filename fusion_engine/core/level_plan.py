"""How the levels of a model are merged before they are trained, '0-2,3,4-7': the grammar of solvers and pages alike."""

import re
from collections.abc import Sequence

from .errors import RecipeError
from .types import Level

Plan = tuple[tuple[int, int], ...]
"""First and last level of every merged level, in order."""


def finest(count: int) -> Plan:
    """Every level by itself."""
    return tuple((i, i) for i in range(count))


def candidate_plans(count: int) -> list[Plan]:
    """From fine to coarse: every level by itself, neighbours in pairs, all levels as one. No plan twice."""
    pairs = tuple((i, min(i + 1, count - 1)) for i in range(0, count, 2))
    return list(dict.fromkeys([finest(count), pairs, ((0, count - 1),)]))


def parse_plan(spec: str, count: int) -> Plan:
    """Read '0-2,3,4-7' for a model of `count` levels. Leading zeros mean nothing: '0-0003' is '0-3'.

    Raises RecipeError, which says how many levels there are, unless every level appears once and in order.
    """
    plan: list[tuple[int, int]] = []
    expected = 0
    for part in spec.split(","):
        match = re.fullmatch(r"\s*(\d{1,4000})\s*(?:-\s*(\d{1,4000})\s*)?", part)  # int() takes 4,300 digits
        if match is None:
            raise _error(spec, count, f"{part.strip()!r} is not a level or a range of levels")
        first, last = int(match[1]), int(match[2] or match[1])
        if max(first, last) >= count:
            raise _error(spec, count, f"there is no level {max(first, last)}")
        if first != expected or last < first:
            raise _error(spec, count, f"{part.strip()!r} stands where level {expected} is due")
        plan.append((first, last))
        expected = last + 1
    if expected != count:
        raise _error(spec, count, f"level {expected} is missing")
    return tuple(plan)


def _error(spec: str, count: int, reason: str) -> RecipeError:
    levels = "1 level, number 0" if count == 1 else f"{count} levels, 0 to {count - 1}"
    return RecipeError(
        f"solver.levels {spec!r}: {reason}; the model has {levels}: name each once, in order, such as "
        f"{format_plan(candidate_plans(count)[-1])!r} or {format_plan(finest(count))!r}"
    )


def format_plan(plan: Plan) -> str:
    """The plan as text that `parse_plan` reads."""
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in plan)


def merge_levels(levels: Sequence[Level], plan: Plan) -> list[Level]:
    """The levels of a plan; a merged level is named after its first and last one."""
    merged = []
    for number, (first, last) in enumerate(plan):
        part = levels[first : last + 1]
        name = part[0].name if first == last else f"{part[0].name} to {part[-1].name}"
        tensors = tuple(dict.fromkeys(tensor for level in part for tensor in level.tensors))
        layers, end = tuple(layer for level in part for layer in level.layers), part[-1]
        merged.append(Level(number, name, part[0].input, end.output, tensors, layers, end.output_shape))
    return merged
