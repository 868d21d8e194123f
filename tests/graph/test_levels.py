"""Levels: composition is exact, every level has weights, and one can be trained alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fusion_engine.graph import Program, Trace
from tests.zoo import build

from .traced_zoo import Traced, difference, double, traced


def programs(found: Trace, train: bool = False) -> list[Program]:
    return [
        Program(found, None if level.input is None else [level.input], [level.output], train=train)
        for level in found.levels
    ]


def test_levels_compose_to_the_model(zoo: Traced) -> None:
    other, _ = build(zoo.name, seed=9)
    for state in (zoo.state, double(other.state_dict())):
        for inputs in (zoo.inputs, tuple(x[[1, 0, 2, 3, 3]] for x in zoo.inputs)):
            values = inputs
            with torch.no_grad():
                for level, program in zip(zoo.trace.levels, programs(zoo.trace), strict=True):
                    values = program(state, *values)
                    if level.output_shape is not None:
                        assert tuple(values[0].shape[1:]) == level.output_shape[1:]
            assert difference(zoo.run(state, *inputs), values) < 1e-10


def test_levels_are_consecutive_and_own_weights(zoo: Traced) -> None:
    levels = zoo.trace.levels
    assert [level.index for level in levels] == list(range(len(levels)))
    assert levels[0].input is None
    assert levels[-1].output == zoo.trace.output
    for before, after in pairwise(levels):
        assert after.input == before.output
    assert len({level.name for level in levels}) == len(levels)
    assert all(level.tensors for level in levels)
    for level, program in zip(levels, programs(zoo.trace), strict=True):
        assert set(program.tensors) == set(level.tensors)
    named = [name for level in levels for name in level.layers]
    assert named == list(zoo.trace.layers)


def test_names() -> None:
    assert [level.name for level in traced("mlp").trace.levels] == ["fc.0", "fc.1", "fc.2"]
    assert [level.name for level in traced("resnet").trace.levels][:3] == ["conv1", "layers.0", "layers.1"]
    assert traced("mlp").trace.levels[0].output_shape == (-1, 16)


def test_tensors_shared_by_levels_are_named() -> None:
    found = traced("tied").trace
    assert any("'twice.weight' is shared by the levels twice, twice#1" in w for w in found.warnings)
    assert traced("vgg11").trace.warnings == []


@pytest.mark.parametrize("number", [1, 8])
def test_one_level_trains_in_place(number: int) -> None:
    zoo = traced("vgg_bn_2fc")
    level = zoo.trace.levels[number]
    state = {k: v.clone() for k, v in zoo.state.items()}
    names = [n for n in level.tensors if "running" not in n]
    for name in names:
        state[name].requires_grad_()
    with torch.no_grad():
        fed = Program(zoo.trace, None, [level.input])(zoo.state, *zoo.inputs)[0]
        other = double(build(zoo.name, seed=1)[0].state_dict())
        target = Program(zoo.trace, [level.input], [level.output])(other, fed)[0]
    program = Program(zoo.trace, [level.input], [level.output], train=number == 1)
    optimiser = torch.optim.Adam([state[n] for n in names], 1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (program(state, fed)[0] - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    changed = {n for n in state if not torch.equal(state[n].detach(), zoo.state[n])}
    statistics = {n for n in level.tensors if "running" in n} if number == 1 else set()
    counters = {n.replace("running_mean", "num_batches_tracked") for n in statistics if n.endswith("mean")}
    assert changed == set(names) | statistics | counters
