"""Operators of usual networks that once had no rule: traced, and verified by shuffling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_engine.core.errors import VerificationError
from fusion_engine.exported.operators import find_operator
from fusion_engine.graph import Program, trace, verify
from fusion_engine.parents import load_parent


class Body(nn.Module):
    """Layers a (8 -> 16) and o (16 -> 5) with an operator between them; `use` gets the module and a's outputs."""

    def __init__(self, use: Callable[[Body, Tensor], Tensor] = lambda m, h: h) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.t = nn.Parameter(torch.randn(7, 16))
        self.two = nn.Bilinear(16, 16, 16)
        self.bag = nn.EmbeddingBag(9, 16)
        self.register_buffer("i", torch.tensor([3, 0, 5, 1, 1, 2]))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.relu(self.use(self, self.a(x))).mean(1))


def autocast(m: Body, h: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        h = m.b(h)
    with torch.no_grad():
        return h + 1


def filled(m: Body, h: Tensor) -> Tensor:
    mask = torch.empty_like(h).fill_(2.0)
    return h * mask + torch.ones_like(h).zero_()


CASES: dict[str, Callable[[Body, Tensor], Tensor]] = {
    "index buffer": lambda m, h: h + m.t[m.i],
    "index buffer, viewed": lambda m, h: h + m.t[m.i.view(2, 3).flatten() + 1],
    "mv": lambda m, h: h * torch.mv(m.b.weight, m.t[0]).tanh(),
    "matmul with a vector": lambda m, h: h * (h @ m.t[1])[..., None],
    "vector times matrix": lambda m, h: h + m.t[1] @ m.b.weight,
    "dot": lambda m, h: h * torch.dot(m.t[0], m.t[1]).sigmoid(),
    "reshape_as": lambda m, h: m.b(h).reshape_as(h) + h,
    "bilinear": lambda m, h: m.two(h, torch.tanh(h)),
    "embedding_bag": lambda m, h: h + m.bag(torch.tensor([[1, 2, 4], [0, 0, 3]])).sum(0),
    "autocast and no_grad": autocast,
    "gather tokens": lambda m, h: h.gather(1, h.mean(2, keepdim=True).argsort(1).expand(-1, -1, 16)),
    "detach_": lambda m, h: m.b(h.clone().detach_()),
    "diff": lambda m, h: h.diff(dim=1),
    "and": lambda m, h: h * ((h > 0).__and__(h < 2)),
    "fill": filled,
    "one key for all heads": lambda m, h: F.scaled_dot_product_attention(
        3 * h.unflatten(2, (4, 4)).transpose(1, 2), m.b(h)[:, None, :, :4], h.unflatten(2, (4, 4)).transpose(1, 2)
    ).transpose(1, 2).flatten(2),
    "broadcast product": lambda m, h: h @ torch.relu(m.b.weight)[None],
    "norm without running statistics": lambda m, h: F.linear(
        h, F.batch_norm(m.b.weight[None], None, None, training=True)[0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_traced_and_verified(name: str) -> None:
    torch.manual_seed(0)
    model, x = Body(CASES[name]).eval(), torch.randn(3, 6, 8)
    found = trace(model, (x,))
    report = verify(found, model, (x,))
    assert report.difference < 1e-12
    assert found.spaces or name == "diff"
    with torch.no_grad():
        assert torch.allclose(Program(found, None, [found.output])(model.state_dict(), x)[0], model(x), atol=1e-5)


def test_indices_have_to_be_the_same_in_all_parents() -> None:
    model, x = Body(CASES["index buffer"]).eval(), torch.randn(3, 6, 8)
    found = trace(model, (x,))
    assert list(found.indices) == ["i"]
    with pytest.raises(VerificationError, match="indices in 'i'"):
        verify(found, {**model.state_dict(), "i": model.i.flip(0)}, (x,))


class Hyphenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Module()
        self.trunk.add_module("block1-0", nn.Linear(8, 16))
        self.o = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.o.weight
        mean = F.batch_norm(weight[None], None, None, training=True)[0]
        h = torch.relu(self.trunk.get_submodule("block1-0")(x))
        return F.linear(h * ((h > 0) & (h < 3)), mean, self.o.bias)


def test_an_exported_program_with_such(tmp_path: Path) -> None:
    model = Hyphenated().eval()
    program = torch.export.export(model, (torch.randn(4, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "net.pt2")
    parent, x = load_parent(tmp_path / "net.pt2"), torch.randn(5, 8)
    with torch.no_grad():
        assert torch.allclose(parent.model(x), model(x), atol=1e-6)
    assert list(trace(parent.model, (x,)).layers) == ["trunk.block1-0"]


@pytest.mark.parametrize(
    "name", ["gather.default", "diff.default", "__and__.Tensor", "fill_.Scalar", "zero_.default", "detach_.default"]
)
def test_operators_that_files_may_name(name: str) -> None:
    assert callable(find_operator(f"torch.ops.aten.{name}"))
