"""Neurons picked out by position stay in place, and so does a space that verification blames: with a warning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import fuse, load_parents, trace
from fusion_engine.core.errors import BlamedSpaceError, VerificationError
from fusion_engine.data import load_data, make_dataset
from fusion_engine.demo import load_demo
from fusion_engine.exploration.explored import explored
from fusion_engine.fusing import RunLog
from fusion_engine.graph import label_rule, verify, without_blamed
from fusion_engine.graph.rules import registry
from fusion_engine.jobs.kinds.preflight import inspect


class Gated(nn.Module):
    """Two branches weighed by the outputs of a gate; how they are picked out is `pick`."""

    pick = staticmethod(lambda w: (w[:, 0:1], w[:, 1:2]))

    def __init__(self) -> None:
        super().__init__()
        self.g, self.a, self.b = nn.Linear(20, 2), nn.Linear(20, 12), nn.Linear(20, 12)
        self.o = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.pick(self.g(x).softmax(-1))
        return self.o(first * torch.relu(self.a(x)) + second * torch.relu(self.b(x)))


class Selected(Gated):
    pick = staticmethod(lambda w: (w[:, 0, None], w[:, 1, None]))


class Unbound(Gated):
    pick = staticmethod(lambda w: tuple(t[:, None] for t in w.unbind(1)))


class Split(Gated):
    pick = staticmethod(lambda w: w.split(1, -1))


class Chunked(Gated):
    pick = staticmethod(lambda w: w.chunk(2, -1))


class Indexed(Gated):
    pick = staticmethod(lambda w: (w[:, [0]], w[:, [1]]))


class Halves(nn.Module):
    """The sums of two halves differ, each entry of a half is like the others of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(20, 12), nn.Linear(1, 5)

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.relu(self.a(x)).chunk(2, -1)
        return self.o(first.mean(1, keepdim=True) - 2 * second.mean(1, keepdim=True))


class ByPath(nn.Module):
    """A parameter that is indexed by a Python number."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.a, self.b = nn.Parameter(torch.rand(3) + 0.5), nn.Linear(20, 12), nn.Linear(20, 12)
        self.o = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.w[0] * torch.relu(self.a(x)) + self.w[2] * torch.relu(self.b(x)))


@pytest.mark.parametrize("kind", [Gated, Selected, Unbound, Split, Chunked, Indexed, Halves, ByPath])
def test_what_is_picked_out_stays(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(4, 20)
    found = trace(model, (x,))
    assert verify(found, model, (x,)).difference < 1e-12
    sizes = {space.name: space.size for space in found.spaces.values()}
    assert sizes == ({"a": 6, "a#1": 6} if kind is Halves else {"a": 12})
    assert any("'g'" in line for line in found.warnings) is issubclass(kind, Gated)


@torch.library.custom_op("zoo::tilted", mutates_args=())
def tilted(x: Tensor) -> Tensor:
    return x * torch.arange(1, x.shape[-1] + 1)


@tilted.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(20, 12), nn.Linear(12, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.relu(self.b(tilted(torch.relu(self.a(x))))))


def test_a_blamed_space_is_left_in_place_and_the_rest_is_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @label_rule("zoo::tilted")
    def rule(call):  # wrong: the operator is not the same for all neurons
        return call.algebra.elementwise(call.tensors(), call.shape, "mul", call.tag)

    torch.manual_seed(0)
    for name in ("a", "b"):
        torch.save(Wrong().state_dict(), tmp_path / f"{name}.pt")
    parents = load_parents([tmp_path / "a.pt", tmp_path / "b.pt"], f"{__name__}:Wrong", input_shape=(20,))
    x = torch.randn(50, 20)
    found = trace(parents[0].model, (x[:2],))
    with pytest.raises(BlamedSpaceError, match="'a'"):
        verify(found, parents[0].state, (x[:2],))
    assert list(without_blamed(found, [p.state for p in parents], (x[:2],)).spaces) == ["b"]
    data = make_dataset(x.numpy(), None, None, None, 5, "x")
    result = fuse(parents, data, "git_rebasin_activations")
    assert [line for line in result.report["warnings"] if "space 'a' stays in place" in line]
    assert torch.allclose(result.state["a.weight"], (parents[0].state["a.weight"] + parents[1].state["a.weight"]) / 2)
    seen = inspect(parents, None, 0, lambda *_: None)
    assert seen["ok"]
    assert any("space 'a' stays in place" in line for line in seen["warnings"])
    assert list(seen["verify"]) == ["b"]
    log = RunLog()
    found = explored(parents, data, {"importance": "activation", "grouping": "kmeans"}, log)
    assert list(found.groupings) == ["b"]
    assert [line for line in log.notes if "space 'a' stays in place" in line]


def test_parents_that_fail_the_check_are_explored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise VerificationError("exchanging neurons changes everything")

    monkeypatch.setattr(sys.modules["fusion_engine.pipeline.prepare"], "verify", fail)
    log, data = RunLog(), load_data("digits:train").subset(slice(0, 50))
    recipe = {"importance": "activation", "grouping": "kmeans"}
    assert list(explored(load_demo()[:2], data, recipe, log).groupings) == ["fc1", "fc2"]
    assert "these parents cannot be fused: exchanging neurons changes everything" in log.notes
    with pytest.raises(VerificationError):
        fuse(load_demo()[:2], data, recipe)
