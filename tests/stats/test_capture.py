"""Hooks read the right tensors and never outlive their block."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion_engine.stats import capture


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in net.modules())


def test_inputs_and_outputs_of_the_latest_pass() -> None:
    net, x = model(), torch.ones(5, 3)
    with torch.no_grad(), capture(net, ["0", "2"]) as captured:
        net(torch.zeros(1, 3))
        y = net(x)
        assert hooks(net) == 2
    assert hooks(net) == 0
    assert torch.equal(captured.inputs["0"], x)
    assert torch.equal(captured.inputs["2"], captured.outputs["0"].relu())
    assert torch.equal(captured.outputs["2"], y)


def test_hooks_are_removed_when_something_raises() -> None:
    net = model()
    with pytest.raises(RuntimeError), capture(net, ["0"]):
        net(torch.zeros(1, 7))
    with pytest.raises(KeyError, match="no module 'nope'"), capture(net, ["0", "nope"]):
        pass
    assert hooks(net) == 0
