"""Levels merged by hand: how they are written, and what is refused."""

from __future__ import annotations

import pytest

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.level_plan import candidate_plans, format_plan, parse_plan


@pytest.mark.parametrize("spec", ["0,1,2,3", "0-1,2-3", "0-3", " 0 - 2 , 3 "])
def test_plans_are_read_and_written(spec: str) -> None:
    assert format_plan(parse_plan(spec, 4)) == spec.replace(" ", "")


@pytest.mark.parametrize("spec", ["0-0000003", "0000-3", "00-03"])
def test_leading_zeros_mean_nothing(spec: str) -> None:
    assert parse_plan(spec, 4) == ((0, 3),)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("0,1,2", "level 3 is missing"),
        ("0-1,1-3", "'1-3' stands where level 2 is due"),
        ("1,0,2,3", "'1' stands where level 0 is due"),
        ("0-4", "there is no level 4"),
        ("1-0,2,3", "'1-0' stands where level 0 is due"),
        ("0-1;2-3", "is not a level"),
        ("9" * 5000, "is not a level"),
        ("9" * 20, f"there is no level {'9' * 20}"),
        ("", "is not a level"),
    ],
)
def test_plans_that_do_not_fit_are_refused(spec: str, reason: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_plan(spec, 4)
    assert reason in str(error.value)
    assert "4 levels, 0 to 3" in str(error.value)


@pytest.mark.parametrize(("count", "plans"), [(1, 1), (2, 2), (3, 3), (5, 3)])
def test_candidates_are_valid_and_different(count: int, plans: int) -> None:
    found = candidate_plans(count)
    assert len(found) == plans
    assert all(parse_plan(format_plan(plan), count) == plan for plan in found)
