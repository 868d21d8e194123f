"""METHODS.md's invariants 2 and 3, over every registered grouping and solver and every zoo architecture they apply to:
parents that are one function give that function back."""

from __future__ import annotations

import pytest

from fusion_engine.core import registry

from . import checks
from .cases import Case
from .engine import Method
from .methods import STEPS, joined_pairs, over, some_cases

RESTORING = [name for name in STEPS if checks.restores(Method("post", name))]


@over(joined_pairs("identity"), "grouping", "solver")
def test_permuted_copies_give_the_parent_back(case: Case, grouping: Method, solver: Method) -> None:
    checks.copies_give_the_parent_back(case, grouping, solver)


@over(joined_pairs(), "grouping", "solver")
def test_one_parent_alone_comes_back(case: Case, grouping: Method, solver: Method) -> None:
    checks.one_parent_comes_back(case, grouping, solver)


@pytest.mark.parametrize("step", RESTORING)
@over(some_cases("identity"), "grouping")
def test_steps_without_training_give_the_parent_back(case: Case, step: str, grouping: Method) -> None:
    checks.steps_give_the_parent_back(case, Method("post", step), grouping)


def test_steps_that_restore_are_told_by_what_they_need() -> None:
    assert {registry.get("post", name).needs for name in RESTORING}.isdisjoint({frozenset({"gradients"})})
    assert 0 < len(RESTORING) < len(STEPS)
