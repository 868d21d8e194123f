"""What layers are solved for: branches that end in a residual stream answer for the stream."""

from __future__ import annotations

import torch

from fusion_engine.graph import Program, trace
from fusion_engine.solvers.least_squares.targets import RowOrder, find_target
from tests.zoo import build


def test_the_last_layer_of_a_branch_is_asked_for_the_stream() -> None:
    model, inputs = build("resnet")
    traced = trace(model, inputs)
    layers = list(traced.layers.values())
    inner = traced.layers["layers.0.conv1"]
    assert find_target(traced, inner, layers).node == inner.output
    outer = traced.layers["layers.0.conv2"]
    found = find_target(traced, outer, layers)
    assert found.node.startswith("add")
    assert found.other is not None
    assert found.moved is None


def test_a_stream_that_is_not_final_is_no_target() -> None:
    model, inputs = build("resnet")
    traced = trace(model, inputs)
    layers = list(traced.layers.values())
    branch, projection = traced.layers["layers.2.conv2"], traced.layers["layers.2.shortcut.0"]
    before = layers[: layers.index(branch)]
    assert find_target(traced, branch, before).other is None, "the projection is not solved yet"
    assert find_target(traced, projection, [*before, branch]).other == branch.output


def test_dropout_is_looked_through() -> None:
    model, inputs = build("vit_encoder_pre")
    traced = trace(model, inputs)
    layer = traced.layers["encoder.layers.0.linear2"]
    assert find_target(traced, layer, list(traced.layers.values())).other is not None


def test_rows_of_an_attention_module_are_brought_into_the_streams_order() -> None:
    model, inputs = build("vit_module")
    traced = trace(model, inputs)
    layer = traced.layers["blocks.0.attention.attention.out_proj"]
    target = find_target(traced, layer, list(traced.layers.values()))
    assert target.moved is not None
    program = Program(traced, None, [layer.output, target.moved])
    with torch.no_grad():
        own, moved = program(model.state_dict(), *inputs)
    ordered = RowOrder(traced, layer, target.moved)(own, inputs[0])
    torch.testing.assert_close(ordered, moved, rtol=0, atol=0)
