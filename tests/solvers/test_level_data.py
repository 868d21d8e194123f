"""What levels are trained on: merged levels, mixtures, weights of the loss, residual streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.core.level_plan import candidate_plans, merge_levels, parse_plan
from fusion_engine.core.types import Grouping
from fusion_engine.graph import Program, merge_activations
from fusion_engine.solvers.gradient.level_data import Goal, draw_pool
from fusion_engine.solvers.gradient.level_problem import level_nodes, node_weights
from tests.fusions import solve
from tests.solvers.gradient_problem import Problem


@pytest.fixture(scope="module")
def mlp() -> Problem:
    return Problem()


def test_merged_levels_compute_the_model(mlp: Problem) -> None:
    x, state = mlp.data.normalised(), mlp.states[0]
    expected = Program(mlp.trace, None, [mlp.trace.output])(state, x)[0]
    for plan in candidate_plans(len(mlp.trace.levels)):
        tensor = x
        for level in merge_levels(mlp.trace.levels, plan):
            program = Program(mlp.trace, None if level.input is None else [level.input], [level.output])
            tensor = program(state, tensor)[0]
        torch.testing.assert_close(tensor, expected)


def test_weights_are_sums_of_the_members_scores(mlp: Problem) -> None:
    context = mlp.context()
    _, groupings = solve(context, "least_squares")
    space = mlp.trace.layers[mlp.trace.levels[0].layers[0]].space
    node = mlp.trace.levels[0].output
    like = torch.zeros(1, groupings[space].size)
    expected = np.zeros(groupings[space].size)
    for labels, scores in zip(groupings[space].labels, context.importance, strict=True):
        np.add.at(expected, labels, scores[space].numpy())
    found = node_weights(context.inputs, groupings, node, like)[0].numpy()
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


def test_mixtures_lie_between_samples_and_nothing_held_out_is_used(mlp: Problem) -> None:
    context = mlp.context()
    x, held = mlp.data.normalised(), context.held_out
    pool = draw_pool(context.inputs, 2)
    train = x[~held]
    made = pool.x[len(x) :]
    assert len(made) == 2 * len(train)
    assert len(pool.train) == 3 * len(train)
    assert set(pool.held.tolist()).isdisjoint(pool.train.tolist())
    low, high = train.min(0).values, train.max(0).values
    assert bool(((made >= low - 1e-5) & (made <= high + 1e-5)).all())
    first = train.repeat(2, 1)
    # Each lies on a line through the sample it was made from and some other one that is trained on.
    for i in range(0, len(made), 37):
        offset = made[i] - first[i]
        cosine = torch.nn.functional.cosine_similarity(train - first[i], offset[None])
        assert float(cosine.max()) == pytest.approx(1.0, abs=1e-3) or float(offset.norm()) < 1e-4


def test_residual_streams_inside_levels() -> None:
    """A level of two blocks is compared at the first one's addition as well, at which the parents can be merged."""
    problem = Problem("resnet", samples=8)
    levels = problem.trace.levels
    plan = parse_plan(f"0,1-{len(levels) - 2},{len(levels) - 1}", len(levels))
    middle = merge_levels(levels, plan)[1]
    goal = Goal(None, None)
    alone = level_nodes(problem.trace, middle, goal, align_skips=False)
    streams = level_nodes(problem.trace, middle, goal, align_skips=True)
    assert alone == [middle.output]
    assert len(streams) > len(levels) - 2
    groupings = {
        s.name: Grouping(s.name, "identity", (np.eye(s.size) / 2,) * 2, (np.eye(s.size),) * 2)
        for s in problem.trace.spaces.values()
    }
    program, x = Program(problem.trace, None, streams), problem.data.normalised()
    for node, *tensors in zip(streams, *[program(state, x) for state in problem.states], strict=True):
        merged = merge_activations(problem.trace, groupings, node, tensors)
        torch.testing.assert_close(merged, sum(tensors) / 2)
