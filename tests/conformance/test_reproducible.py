"""METHODS.md's invariant 4 over every grouping and solver: the same seed gives the same bits, what was given stays as
it was, and nothing is left behind, also by work that was cancelled."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion_engine.core.errors import Cancelled
from tests.zoo import zoo_names

from . import checks
from .cases import FEW, Case
from .engine import Method, fuse_states, refine_state
from .methods import SOLVERS, STEPS, default, joined_pairs, over


@over(joined_pairs(everywhere=False), "grouping", "solver")
def test_same_seed_same_bits_and_inputs_untouched(case: Case, grouping: Method, solver: Method) -> None:
    checks.same_seed_same_bits(case, grouping, solver)


@over([(name,) for name in zoo_names()])
def test_cancelling_leaves_nothing_behind(case: Case) -> None:
    _cancel_solving(case, Method("solver", "least_squares"), "solve")


@pytest.mark.parametrize("stage", ["grouping", "solve"])
@over([(name, default("solver", solver)) for name in FEW[:2] for solver in SOLVERS], "solver")
def test_cancelling_any_solver_leaves_nothing_behind(case: Case, solver: Method, stage: str) -> None:
    _cancel_solving(case, solver, stage)


def _cancel_solving(case: Case, solver: Method, stage: str) -> None:
    parents = case.parents(*checks.DIFFERENT)

    def stop(reached: str) -> None:
        if reached == stage:
            raise Cancelled

    with checks.nothing_left_behind(*parents.states), pytest.raises(Cancelled):
        fuse_states(parents, checks.plain_grouping(solver), solver, stop)


@over([(name, default("post", step)) for name in FEW[1:2] for step in STEPS], "step")
def test_cancelling_a_step_leaves_nothing_behind(case: Case, step: Method) -> None:
    parents = case.parents(*checks.DIFFERENT)
    fused, groupings = case.fused(checks.DIFFERENT, checks.PERMUTATION, checks.AVERAGE)

    def stop(reached: str) -> None:
        raise Cancelled

    with checks.nothing_left_behind(fused, *parents.states):
        try:
            refine_state(parents, groupings, fused, step, stop)
        except Cancelled:
            return
    assert "moments" not in step.spec.needs, "a step that looks at samples takes time, and says nothing of it"
    assert "gradients" not in step.spec.needs


def _leave_a_hook(model: nn.Module) -> None:
    model.register_forward_hook(lambda *given: None)


def _leave_a_global_hook(model: nn.Module) -> None:
    nn.modules.module.register_module_forward_hook(lambda *given: None)


def _draw(model: nn.Module) -> None:
    torch.rand(1)


def _set_the_seed(model: nn.Module) -> None:
    torch.manual_seed(0)


def _change_a_weight(model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_leave_a_hook, "hooks are left"), (_leave_a_global_hook, "_global_forward_hooks"),
        (_draw, "random state"), (_set_the_seed, "random state"), (_change_a_weight, "was changed"),
    ],
)  # fmt: skip
def test_what_is_left_behind_is_found(harm: object, message: str) -> None:
    assert callable(harm)
    model, hooks = nn.Linear(3, 2), nn.modules.module._global_forward_hooks
    before = dict(hooks)
    with (
        torch.random.fork_rng(devices=[]),
        pytest.raises(AssertionError, match=message),
        checks.nothing_left_behind(model.state_dict()),
    ):
        harm(model)
    hooks.clear()
    hooks.update(before)
