"""Neighbouring levels merged by hand: the groups, their text in the URL, and changes to them."""

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.level_plan import Plan, finest, format_plan, parse_plan

from ..shared.text import join


def parsed(spec: str, count: int) -> Plan | None:
    """The groups a text names, each level by itself where it names none; None where it does not fit `count` levels."""
    try:
        return finest(count) if spec in ("", "auto") else parse_plan(spec, count)
    except RecipeError:
        return None


def written(groups: Plan) -> str:
    """The text for the recipe and the address; '' where nothing is merged."""
    return "" if all(first == last for first, last in groups) else format_plan(groups)


def merged(groups: Plan, first: int, last: int) -> Plan:
    """With the groups number `first` to `last` as one."""
    return (*groups[:first], (groups[first][0], groups[last][1]), *groups[last + 1 :])


def split(groups: Plan, number: int) -> Plan:
    """With group `number` taken apart into its levels."""
    first, last = groups[number]
    return (*groups[:number], *((i, i) for i in range(first, last + 1)), *groups[number + 1 :])


def join_groups(groups: Plan) -> str:
    """The merged groups for people: 'levels 0 to 2 and 4 to 7'."""
    return "levels " + join(f"{first} to {last}" for first, last in groups if first < last)
