"""The gradient solver: levels by hand, what judges a level, what happens when one diverges, and its starts."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch

from fusion_engine.core.errors import Cancelled, RecipeError
from fusion_engine.core.level_plan import candidate_plans, format_plan
from fusion_engine.core.progress import Progress, no_progress
from fusion_engine.fusing import RunLog, align_to_first
from fusion_engine.graph import Program
from tests.fusions import solve
from tests.solvers.gradient_problem import Problem


@pytest.fixture(scope="module")
def mlp() -> Problem:
    return Problem()


def solved(problem: Problem, grouping: str = "kmeans", progress=None, **parameters):
    """Fused state, groupings, decisions and notes."""
    context = problem.context(grouping, log=RunLog(Progress(progress or no_progress)))
    state, groupings = solve(context, "gradient", {"epochs": 4, "mixtures": 1, **parameters})
    return state, groupings, context.decisions["gradient"], context.notes


def test_the_solver_refuses_a_plan_for_another_model(mlp: Problem) -> None:
    with pytest.raises(RecipeError, match="levels, 0 to"):
        solve(mlp.context(), "gradient", {"levels": "0-99"})


@pytest.mark.parametrize("start", ["least_squares", "average", "first_parent"])
@pytest.mark.parametrize("head_target", ["distil", "merged"])
def test_levels_learn_and_never_get_worse(mlp: Problem, start: str, head_target: str) -> None:
    _, _, decisions, _ = solved(mlp, start=start, head_target=head_target, levels="0,1,2", epochs=8)
    steps = decisions["steps"]
    assert [s["level"] for s in steps] == [level.name for level in mlp.trace.levels]
    assert all(s["held_out_after"] <= s["held_out_before"] for s in steps)
    gain = 0.999 if start == "least_squares" else 0.8  # the least-squares solution leaves little to learn here
    assert any(s["held_out_after"] < gain * s["held_out_before"] and s["kept"] == "trained" for s in steps)
    for step in steps:
        assert len(step["curve"]) == step["epochs"]
        assert [epoch for epoch, _, _ in step["curve"]] == list(range(1, step["epochs"] + 1))
        if step["kept"] == "trained":
            assert min(held for _, _, held in step["curve"]) == step["held_out_after"]
    assert json.loads(json.dumps(decisions, allow_nan=False)) == decisions


def test_the_reported_error_is_the_states_own(mlp: Problem) -> None:
    """The last level's held-out loss, computed here from the definition."""
    context = mlp.context()
    parameters = {"epochs": 4, "mixtures": 0, "levels": "0-2", "head_target": "merged", "head_weights": "uniform"}
    state, _ = solve(context, "gradient", parameters)
    program = Program(mlp.trace, None, [mlp.trace.output])
    x, held = mlp.data.normalised(), context.held_out
    target = sum(program(s, x)[0].double() for s in mlp.states) / 2
    spread = (target[~held] - target[~held].mean(0)).square().mean() + 1e-6 * target[~held].square().mean()
    error = (program(state, x)[0] - target)[held].square().mean() / spread
    step = context.decisions["gradient"]["steps"][0]
    assert step["held_out_after"] == pytest.approx(float(error), rel=1e-4)


@pytest.mark.parametrize("start", ["least_squares", "first_parent"])
def test_a_level_that_diverges_gets_its_least_squares_solution(mlp: Problem, start: str) -> None:
    state, _, decisions, notes = solved(
        mlp, start=start, rate=1000.0, levels="0,1,2", optimiser="sgd", head_weights="uniform"
    )
    replaced = [s for s in decisions["steps"] if s["reason"].startswith("diverged")]
    assert replaced
    assert all(s["kept"] == "least_squares" for s in replaced)
    assert all(any(s["level"] in n and "diverged" in n for n in notes) for s in replaced)
    if start == "least_squares":
        linear, _ = solve(mlp.context(), "least_squares", {"head_weights": "uniform"})
        for step in replaced:
            level = next(level for level in mlp.trace.levels if level.name == step["level"])
            assert all(torch.equal(state[name], linear[name]) for name in level.tensors)
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_progress_carries_the_curves(mlp: Problem) -> None:
    events = []

    def record(event):
        if event.stage == "solve":
            events.append((event.fraction, event.detail))

    _, _, decisions, _ = solved(mlp, progress=record, levels="0-1,2")
    epochs = [d for _, d in events if "epoch" in d]
    steps = decisions["steps"]
    assert [(d["index"], d["epoch"], d["loss"], d["held_out"]) for d in epochs] == [
        (i, *entry) for i, step in enumerate(steps) for entry in step["curve"]
    ]
    done = [d for _, d in events if d.get("done")]
    assert [(d["index"], d["levels"], d["kept"]) for d in done] == [(i, 2, s["kept"]) for i, s in enumerate(steps)]
    fractions = [fraction for fraction, _ in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 0.7, "the end of the stage"


def test_cancelling_leaves_the_parents_as_they_are(mlp: Problem) -> None:
    before = [{k: v.clone() for k, v in s.items()} for s in mlp.states]

    def stop(event):
        if event.detail.get("epoch") == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        solved(mlp, progress=stop, levels="0,1,2")
    assert all(torch.equal(a[k], b[k]) for a, b in zip(before, mlp.states, strict=True) for k in a)


def test_levels_are_chosen_by_the_loss_at_the_output(mlp: Problem) -> None:
    _, _, decisions, _ = solved(mlp, rate=1e-3)
    tried = decisions["levels"]["held_out"]
    assert set(tried) == {format_plan(p) for p in candidate_plans(len(mlp.trace.levels))}
    assert tried[decisions["levels"]["spec"]] == min(tried.values())


def test_too_few_samples_are_not_asked_to_choose() -> None:
    problem = Problem(samples=20)
    context = problem.context()
    solve(context, "gradient")
    decisions = context.decisions["gradient"]
    assert decisions["levels"]["spec"] == "0,1,2"
    assert "too few" in decisions["levels"]["why"]
    assert all(step["epochs"] <= 3 for step in decisions["steps"])


def test_buffers_and_tied_names_stay() -> None:
    """Statistics of norms are no parameters; tied weights stay one tensor, trained in the first level that has it."""
    problem = Problem("tied")
    linear, _ = solve(problem.context(), "least_squares")
    state, _, decisions, _ = solved(problem, head_target="merged")
    for names in problem.trace.aliases.values():
        assert all(torch.equal(state[names[0]], state[name]) for name in names if name in state)
    buffers = set(state) - {a for n in problem.trace.parameters for a in problem.trace.aliases.get(n, (n,))}
    assert all(torch.equal(state[name], linear[name]) for name in buffers)
    by_hand = format_plan(candidate_plans(len(problem.trace.levels))[0])
    _, _, decisions, _ = solved(problem, levels=by_hand)
    used: set[str] = set()
    for level, step in zip(problem.trace.levels, decisions["steps"], strict=True):
        if not set(level.tensors) - used:
            assert step["epochs"] == 0
        used.update(level.tensors)
    assert any("levels before it" in step["reason"] for step in decisions["steps"])


@pytest.mark.parametrize("grouping", ["kmeans", "hungarian", "balanced"])
def test_first_parents_order(mlp: Problem, grouping: str) -> None:
    """The fused function and what a fused neuron merges stay; groups line up with the first parent's neurons."""
    linear, groupings = solve(mlp.context(grouping), "least_squares")
    ordered, state = align_to_first(mlp.trace, groupings, linear)
    program, x = Program(mlp.trace, None, [mlp.trace.output]), mlp.data.normalised()
    torch.testing.assert_close(program(state, x)[0], program(linear, x)[0], rtol=1e-4, atol=1e-5)
    for name, grouping_ in ordered.items():
        assert grouping_.labels is not None
        merge, labels = grouping_.merge, grouping_.labels
        assert all((m[label, np.arange(len(label))] > 0).all() for m, label in zip(merge, labels, strict=True))
        taken = [i for i in range(grouping_.size) if merge[0][i, i] > 0]
        assert len(taken) == len(set(groupings[name].labels[0].tolist()))


def test_one_parents_weights_start_as_they_are() -> None:
    """From the first parent, a level on which nothing was learnt keeps that parent's weights."""
    problem = Problem(noise=0.0)
    state, _, decisions, _ = solved(problem, start="first_parent", grouping="balanced")
    assert all(step["held_out_before"] < 1e-7 for step in decisions["steps"])
    assert all(torch.equal(state[name], problem.states[0][name]) for name in state)


def test_perturbation_moves_the_start_but_not_the_guarantee(mlp: Problem) -> None:
    _, _, plain, _ = solved(mlp, levels="0,1,2", rate=1e-3)
    _, _, noisy, _ = solved(mlp, levels="0,1,2", rate=1e-3, perturbation=2.0)
    assert plain["steps"][-1]["curve"] != noisy["steps"][-1]["curve"]
    assert all(s["held_out_after"] <= s["held_out_before"] for s in noisy["steps"])


@pytest.mark.parametrize("name", ["resnet", "vit_manual"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_recomputed_tensors_give_the_same_result(name: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept, some of them kept, or all computed again: the same errors, up to rounding."""
    from fusion_engine.solvers.gradient import level_data

    def short(*given: Any, **named: Any) -> level_data.Merged:
        needed = sum(level_data.Merged(*given, **named)._bytes.values())
        return level_data.Merged(*given, **{**named, "budget": int(share * needed)})

    problem = Problem(name, samples=16)
    linear = {"levels": format_plan(candidate_plans(len(problem.trace.levels))[1]), "epochs": 1, "rate": 1e-4}
    kept, _, before, _ = solved(problem, **linear)
    monkeypatch.setattr(level_data.Prefix, "advance", lambda *a: None)
    monkeypatch.setattr(sys.modules["fusion_engine.solvers.gradient.method"], "Merged", short)
    again, _, after, _ = solved(problem, **linear)
    for one, other in zip(before["steps"], after["steps"], strict=True):
        assert one["held_out_before"] == pytest.approx(other["held_out_before"], rel=1e-2, abs=1e-6)
    program, x = Program(problem.trace, None, [problem.trace.output]), problem.data.normalised()
    torch.testing.assert_close(program(kept, x)[0], program(again, x)[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("scheduler", ["one_cycle", "cosine", "constant"])
def test_every_optimiser_and_scheduler(mlp: Problem, optimiser: str, scheduler: str) -> None:
    _, _, decisions, _ = solved(mlp, levels="0-2", optimiser=optimiser, scheduler=scheduler)
    assert decisions["steps"][0]["held_out_after"] < decisions["steps"][0]["held_out_before"]


def test_effort_means_more_epochs(mlp: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_engine.solvers.gradient.method._MOST_EPOCHS", 3)
    found = {
        effort: solved(mlp, levels="0-2", epochs="auto", mixtures=0, patience=1000, rate=1e-3, effort=effort)[2]
        for effort in ("quick", "standard")
    }
    assert [found[effort]["steps"][0]["epochs"] for effort in ("quick", "standard")] == [3, 12]
