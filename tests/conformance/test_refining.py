"""Every step that follows the solve, after every solver, on every zoo architecture."""

from __future__ import annotations

import pytest

from tests.zoo import zoo_names

from . import checks
from .cases import Case
from .engine import Method, aligned_only
from .methods import SOLVERS, STEPS, default, over


@pytest.mark.parametrize("step", STEPS)
@over(
    [
        (name, Method("solver", solver))
        for name in zoo_names()
        for solver in SOLVERS
        if solver == "average" or not aligned_only(solver)
    ],
    "solver",
)
def test_every_step_follows_every_solver(case: Case, solver: Method, step: str) -> None:
    method = default("post", step)
    if "gradients" in method.spec.needs and not case.has_classes:
        pytest.skip("the model has no layer of classes at its end")
    checks.step_keeps_the_rest(case, method, solver)
