"""The preflight's words and numbers, on models that work and on models that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fusion_engine.core.progress import Progress
from fusion_engine.exploration.structure import described
from fusion_engine.graph import trace
from fusion_engine.jobs.kinds import preflight
from tests.zoo import build


@dataclass
class Fake:
    """As much of a Parent as the preflight reads."""

    name: str
    model: nn.Module
    architecture: Any = field(default_factory=lambda: SimpleNamespace(name="made up"))
    classes: int = 3
    input_shape: tuple[int, ...] = (4,)
    digest: str = ""
    metadata: Any = field(default_factory=lambda: SimpleNamespace(class_counts=None, assumed={}, reading=()))

    def __post_init__(self) -> None:
        self.model.eval()
        self.state = self.model.state_dict()
        self.digest = self.digest or self.name


def chain(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


class Picks(nn.Module):
    """Which entries it takes depends on the data, which no label rule can follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, (x[0] > 0).long()]


def test_every_parent_has_a_verdict() -> None:
    found = preflight.inspect([Fake("a", chain()), Fake("b", chain())], None, 0, Progress())
    fine = {"ok": True, "reason": "", "operation": "", "module": ""}
    assert (found["ok"], found["error"]) == (True, None)
    assert found["parents"] == [{"name": "a", **fine}, {"name": "b", **fine}]
    assert set(found["verify"]) == {"0"}


def test_the_offending_operation_and_module_are_named() -> None:
    def strange() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.ReLU(), Picks()), nn.Linear(5, 3))

    found = preflight.inspect([Fake("a", strange()), Fake("b", strange())], None, 0, Progress())
    assert not found["ok"]
    for verdict in found["parents"]:
        assert (verdict["ok"], verdict["operation"], verdict["module"]) == (False, "index", "1.1")
        assert "cannot be followed" in verdict["reason"]
        assert "register a rule" in verdict["reason"]
    assert found["levels"] == []


def test_the_parent_that_does_not_fit_is_the_odd_one_out() -> None:
    parents = [Fake("odd", chain(6), classes=4), Fake("a", chain()), Fake("b", chain())]
    found = preflight.inspect(parents, None, 0, Progress())
    assert [v["ok"] for v in found["parents"]] == [False, True, True]
    assert "odd" in found["parents"][0]["reason"]
    assert "classes" in found["error"]


def test_weights_that_cannot_be_verified_are_the_fault_of_one_parent() -> None:
    broken = chain()
    with torch.no_grad():
        broken[0].weight[0, 0] = float("nan")
    found = preflight.inspect([Fake("a", chain()), Fake("b", broken)], None, 0, Progress())
    assert [v["ok"] for v in found["parents"]] == [True, False]
    assert "not finite" in found["parents"][1]["reason"]
    assert "not finite" in found["error"]


@pytest.mark.parametrize("name", ["mlp", "resnet", "vit_fused", "tied"])
def test_levels_count_every_parameter_once(name: str) -> None:
    model, inputs = build(name)
    found = described(trace(model, inputs), model.state_dict(), 2)
    assert sum(level["parameters"] for level in found["levels"]) == sum(p.numel() for p in model.parameters())


def test_a_residual_stream_spans_levels_and_heads_hold_spaces() -> None:
    model, inputs = build("vit_fused")
    found = described(trace(model, inputs), model.state_dict(), 2)
    spaces = {space["name"]: space for space in found["spaces"]}
    assert spaces["patch"]["levels"] == list(range(len(found["levels"])))
    heads = next(name for name, space in spaces.items() if space["block"])
    inner = [space for space in spaces.values() if space["inside"] == heads]
    assert len(inner) == 2 * spaces[heads]["size"]
    assert all(space["levels"] == spaces[heads]["levels"] for space in inner)
    assert spaces["patch"]["inside"] is None
    for level in found["levels"]:
        assert level["spaces"] == [name for name, space in spaces.items() if level["index"] in space["levels"]]
