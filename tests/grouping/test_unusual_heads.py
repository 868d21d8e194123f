"""Heads whose channels all heads share, turn in pairs or are grouped convolutions: a shuffled twin fuses back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_engine import fuse, load_parents, trace
from fusion_engine.core.progress import Progress
from fusion_engine.data import make_dataset
from fusion_engine.exploration.joint_stats import joint_stats
from fusion_engine.graph.apply import permute_state
from fusion_engine.graph.verify import verify
from fusion_engine.stats import SharedStatistics


class Attention(nn.Module):
    """Four heads of four channels; what happens to queries and keys before they meet is the subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.q, self.k, self.v, self.o = (nn.Linear(n, 16) for n in (8, 16, 16, 16, 16))
        self.h = nn.Linear(16, 5)

    def met(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = self.i(x)
        q, k, v = (layer(x).unflatten(-1, (4, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(*self.met(q, k), v).transpose(1, 2).flatten(2)
        return self.h(torch.relu(x + self.o(out)).mean(1))


class SharedNorm(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.n, self.m = nn.LayerNorm(4), nn.RMSNorm(4)

    def met(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return 3 * self.n(query), self.m(key)


class SharedScale(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.rand(4) + 0.5)

    def met(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return 4 * torch.tanh(query * self.s), key


class Rotary(Attention):
    def met(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        angle = torch.arange(query.shape[2])[:, None] * torch.tensor([1.0, 0.3, 1.0, 0.3])

        def turned(t: Tensor) -> Tensor:
            a, b = t.chunk(2, -1)
            return t * angle.cos() + torch.cat([-b, a], -1) * angle.sin()

        return 3 * turned(query), turned(key)


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 12, 3, groups=2, stride=2)
        self.f = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(torch.relu(self.c(torch.relu(self.a(x)))).mean((2, 3)))


class TwoScales(nn.Module):
    """Linear attention at two scales: two heads, whose queries, keys and values grouped convolutions read; queries and
    keys that met are blocks of their own inside the heads (EfficientViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.near = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.wide, self.o, self.f = nn.Conv2d(24, 24, 1, groups=6), nn.Conv2d(16, 9, 1), nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        both = torch.cat([x, self.wide(self.near(x))], 1).unflatten(1, (4, 12)).flatten(3).transpose(2, 3)
        q, k, v = both.chunk(3, -1)
        out = q.relu() @ (k.relu().transpose(2, 3) @ F.pad(v, (0, 1), value=1.0))
        out = (out[..., :-1] / (out[..., -1:] + 1)).transpose(2, 3).flatten(1, 2)
        return self.f(torch.relu(self.o(out.unflatten(2, (4, 4)))).mean((2, 3)))


NETWORKS = {
    "norm": SharedNorm, "scale": SharedScale, "rotary": Rotary, "transposed": Transposed, "two scales": TwoScales,
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shuffled_twin_fuses_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = NETWORKS[name]().eval()
    shape = (3, 4, 4) if name in ("transposed", "two scales") else (6, 8)
    x = 2 * torch.randn(200, *shape)
    graph = trace(model, (x[:2],))
    assert verify(graph, model, (x[:2],)).difference < 1e-12
    state: dict[str, Tensor] = {key: value.detach() for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    for space in graph.spaces.values():
        state |= permute_state(state, space, np.roll(np.arange(space.size), 1), graph)
    torch.save(state, tmp_path / "b.pt")
    parents = load_parents(
        [tmp_path / "a.pt", tmp_path / "b.pt"], f"{__name__}:{NETWORKS[name].__name__}", input_shape=shape
    )
    with torch.no_grad():
        wanted = model(x)
        assert torch.allclose(parents[1].model(x), wanted, atol=1e-5)
        for recipe in ("git_rebasin_activations", "git_rebasin_weights", "kf_linear"):
            fused = fuse(parents, make_dataset(x.numpy(), None, None, None, 5, "x"), recipe).model(x)
            assert float((fused - wanted).norm() / wanted.norm()) < 1e-5, recipe


def test_too_few_rows_to_tell_neurons_apart_are_said(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        torch.save(TwoScales().state_dict(), tmp_path / f"{name}.pt")
    parents = load_parents([tmp_path / "a.pt", tmp_path / "b.pt"], f"{__name__}:TwoScales", input_shape=(3, 4, 4))
    x = torch.randn(40, 3, 4, 4).numpy()
    for count in (24, 40):  # o is read behind the pooling
        data = make_dataset(x[:count], None, None, None, 5, "x")
        notes = fuse(parents, data, "git_rebasin_activations").report["warnings"]
        found = [note for note in notes if "the 9 neurons of o are compared by 24 rows" in note]
        assert len(found) == (count == 24)


def test_channels_across_heads_are_shown_as_they_were_grouped(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, x = SharedNorm().eval(), 2 * torch.randn(100, 6, 8)
    state: dict[str, Tensor] = {key: value.detach() for key, value in model.state_dict().items()}
    graph = trace(model, (x[:2],))
    torch.save(state, tmp_path / "a.pt")
    for space in graph.spaces.values():
        state |= permute_state(state, space, np.roll(np.arange(space.size), 1), graph)
    torch.save(state, tmp_path / "b.pt")
    parents = load_parents([tmp_path / "a.pt", tmp_path / "b.pt"], f"{__name__}:SharedNorm", input_shape=(6, 8))
    data = make_dataset(x.numpy(), None, None, None, 5, "x")
    result = fuse(parents, data, "git_rebasin_activations")
    (nest,) = graph.nests.values()
    assert (nest.block, nest.across, len(nest.kinds)) == ("q#1", ("q",), 1)
    stats = joint_stats(
        result.trace, parents, data, result.importance, result.groupings, SharedStatistics(), seed=0,
        progress=Progress(),
    )  # fmt: skip
    met = result.groupings["q"].merge[1].argmax(1)
    assert np.abs(np.diag(stats["q"].distances()[:4, 4:][:, met])).max() < 1e-6 * stats["q"].gram.max()
