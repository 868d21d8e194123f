"""Samples folded with frames, windows or views into the batch: everything goes by sample all the same."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import fuse, load_parents
from fusion_engine.analysis import similarity
from fusion_engine.core import registry
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.data import Dataset
from fusion_engine.exploration.passport.reading import read_space
from fusion_engine.graph import Samples, Trace, trace
from fusion_engine.importance import score


class Frames(nn.Module):
    """A convolution for every frame of a film, and the mean over the frames; `fold` brings frames into the batch."""

    frames = 4

    def __init__(self) -> None:
        super().__init__()
        self.c, self.d, self.f = nn.Conv2d(3, 8, 3), nn.Linear(8, 6), nn.Linear(6, 5)

    def fold(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1)

    def unfold(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.frames)).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.nn.functional.max_pool2d(torch.relu(self.c(self.fold(x))), 2)
        return self.unfold(self.f(torch.tanh(self.d(maps.mean((2, 3))))))


class Views(Frames):
    """One view after the other, each of all samples."""

    def fold(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).flatten(0, 1)

    def unfold(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self.frames, -1)).mean(0)


class Apart(Frames):
    """What both compute, frame by frame."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [torch.nn.functional.max_pool2d(torch.relu(self.c(frame)), 2) for frame in x.unbind(1)]
        return torch.stack([self.f(torch.tanh(self.d(m.mean((2, 3))))) for m in maps], 1).mean(1)


class Windows(nn.Module):
    """Attention inside windows of a map, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.n, self.qkv, self.o = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.m, self.h = nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.p(x).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        t = self.n(x).view(b, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        q, k, v = self.qkv(t).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        t = self.o((3 * (q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))
        x = x + t.view(b, h // 2, w // 2, 2, 2, c).transpose(2, 3).reshape(b, h, w, c)
        return self.h(torch.relu(self.m(x)).mean((1, 2)))


KINDS: dict[str, type[nn.Module]] = {"frames": Frames, "views": Views, "windows": Windows}
FOLDED = pytest.mark.parametrize("name", ["frames", "views"])


def samples(name: str) -> Dataset:
    shape = (3, 8, 8) if name == "windows" else (4, 3, 6, 6)
    x = torch.randn(30, *shape, generator=torch.Generator().manual_seed(3))
    return Dataset(x=x, y=torch.arange(30) % 5, classes=5)


@cache
def weights(name: str, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {k: v.detach() for k, v in KINDS.get(name, Frames)().state_dict().items()}


@cache
def traced(kind: type[nn.Module]) -> Trace:
    return trace(kind().eval(), (samples("windows" if kind is Windows else "frames").x[:2],))


def test_places() -> None:
    assert traced(Frames).capture.place("conv2d") == Samples(0, 4)
    assert traced(Views).capture.place("conv2d") == Samples(0, 1, 4)
    graph = traced(Windows)
    assert graph.capture.place(graph.layers["qkv"].output) == Samples(0, 4)
    values = torch.arange(24).reshape(2, 12)
    for place in (Samples(1, 3, 2), Samples(1), Samples(0)):
        assert torch.equal(place.joined(place.apart(values)), values)
        assert place.first(values).numel() == 24
    assert Samples(1, 3, 2).first(values)[1].tolist() == [[3, 4, 5, 9, 10, 11], [15, 16, 17, 21, 22, 23]]
    assert Samples(1, 3, 2).spread(torch.tensor([False, True])).tolist() == ([False] * 3 + [True] * 3) * 2


@FOLDED
@pytest.mark.parametrize("method", registry.names("importance"))
def test_importances_are_those_of_frames_apart(name: str, method: str) -> None:
    whole = score(traced(KINDS[name]), weights(name, 0), samples(name), method, {})
    apart = score(traced(Apart), weights(name, 0), samples(name), method, {})
    assert whole.keys() == apart.keys()
    # Apart, a layer makes its space four times over, and is ablated or looked at frame by frame.
    for space in whole if method != "feature_ablation" else ("output",):
        torch.testing.assert_close(whole[space], apart[space], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", registry.names("importance"))
def test_importances_of_windows(method: str) -> None:
    given = traced(Windows), weights("windows", 0), samples("windows"), method, {}
    if method == "deeplift":
        with pytest.raises(UnsupportedModelError, match="DeepLIFT has no rule"):
            score(*given)
        return
    found = score(*given)
    assert all(bool(torch.isfinite(v).all()) for v in found.values())


def test_numbers_of_tokens_as_floats_have_no_derivative() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.f = nn.Embedding(9, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.f(torch.relu(self.e(x.long())).mean(1))

    model, data = Tokens().eval(), Dataset(x=torch.randint(9, (10, 4)).float(), y=torch.arange(10) % 5, classes=5)
    with pytest.raises(UnsupportedModelError, match="not numbers of tokens; use importance 'activation'"):
        score(trace(model, (data.x[:2],)), model.state_dict(), data, "conductance", {})


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("solver", registry.names("solver"))
def test_a_parent_and_itself_fuse_into_it(name: str, solver: str, tmp_path: Path) -> None:
    torch.save(weights(name, 0), tmp_path / "a.pt")
    data = samples(name)
    spec = f"{__name__}:{KINDS[name].__name__}"
    parents = load_parents([tmp_path / "a.pt", tmp_path / "a.pt"], spec, input_shape=tuple(data.x.shape[1:]))
    made = registry.get("solver", solver)
    settings = {"method": solver, **({"epochs": 1} if "epochs" in {p.name for p in made.parameters} else {})}
    recipe = {"importance": {"method": "conductance"}, "grouping": {"method": "auto"}, "solver": settings}
    if made.aligned_only:
        recipe["grouping"] = {"method": "identity"}
    base = parents[0] if "base" in made.needs else None
    result = fuse(parents, data, recipe, base=base)
    with torch.no_grad():
        wanted = parents[0].model(data.x)
        assert float((result.model(data.x) - wanted).norm() / wanted.norm()) < (0.2 if solver == "gradient" else 1e-3)


@FOLDED
def test_answers_and_similarities_go_by_sample(name: str) -> None:
    folded, apart = traced(KINDS[name]), traced(Frames)
    own = [read_space(graph, weights(name, 0), "c", samples(name)).values for graph in (folded, apart)]
    assert own[0].shape == (30, 8)
    assert abs(own[0] - own[1]).max() < 1e-5
    states = [weights(name, seed) for seed in (0, 1)]
    found = [similarity(graph, states, samples(name)) for graph in (folded, apart)]
    assert repr(found[0])[:200] == repr(found[1])[:200]
