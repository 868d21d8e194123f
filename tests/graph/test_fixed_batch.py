"""Models whose forward turns the batch size into a Python number take any number of samples all the same."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import fuse, load_parents
from fusion_engine.core import registry
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, Samples, Trace, trace
from fusion_engine.importance import score
from tests.zoo import build
from tests.zoo_models.transformers import LengthViT, UnrolledViT, ViT

from .traced_zoo import difference

SAMPLES = 21
MODELS = {"plain": ViT, "vit_length": LengthViT, "vit_unrolled": UnrolledViT}


@cache
def parents() -> list[dict[str, Tensor]]:
    return [{k: v.detach() for k, v in build("vit_unrolled", seed)[0].state_dict().items()} for seed in (0, 1)]


@cache
def written(name: str) -> Trace:
    """The network written with len(x), in two ways, or without it."""
    return trace(MODELS[name]().eval(), (torch.randn(4, 3, 16, 16),))


@cache
def samples() -> Dataset:
    x = torch.randn(SAMPLES, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    return Dataset(x=x, y=torch.arange(SAMPLES) % 10, classes=10)


LENGTHS = pytest.mark.parametrize("name", ["vit_length", "vit_unrolled"])


def test_the_batch_stays_free_where_it_can() -> None:
    assert written("plain").capture.dynamic
    assert written("vit_length").capture.dynamic
    assert not written("vit_unrolled").capture.dynamic


@LENGTHS
def test_spaces_and_levels_are_those_of_the_plain_network(name: str) -> None:
    plain, found = written("plain"), written(name)
    assert [(s.name, s.size, s.freedom) for s in found.spaces.values()] == [
        (s.name, s.size, s.freedom) for s in plain.spaces.values()
    ]
    assert [(x.name, x.layers, x.output_shape) for x in found.levels] == [
        (x.name, x.layers, x.output_shape) for x in plain.levels
    ]


@LENGTHS
@pytest.mark.parametrize("method", [m for m in registry.names("importance") if m != "deeplift"])
def test_importances_are_those_of_the_plain_network(name: str, method: str) -> None:
    plain, found = (score(written(n), parents()[0], samples(), method, {}) for n in ("plain", name))
    for space in plain:
        torch.testing.assert_close(found[space], plain[space], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "recipe",
    [
        "average",
        "kf_linear",
        {"grouping": {"method": "balanced"}, "solver": {"method": "least_squares"}},
        {"grouping": {"method": "hungarian"}, "solver": {"method": "gradient", "epochs": 2}},
        {"grouping": {"method": "hungarian"}, "solver": {"method": "regmean"}},
    ],
    ids=lambda recipe: recipe if isinstance(recipe, str) else recipe["solver"]["method"],
)
def test_fused_weights_are_those_of_the_plain_network(recipe: str | dict, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.pt" for i in range(len(parents()))]
    for file, state in zip(files, parents(), strict=True):
        torch.save(state, file)
    plain, *others = (
        fuse(load_parents(files, f"{m.__module__}:{m.__name__}", input_shape=(3, 16, 16)), samples(), recipe).state
        for m in MODELS.values()
    )
    for found in others:
        for tensor in plain:
            torch.testing.assert_close(found[tensor], plain[tensor], rtol=1e-2, atol=1e-4)


def test_every_level_runs_by_itself_and_gradients_flow() -> None:
    plain, found = written("plain"), written("vit_unrolled")
    results = []
    for traced in (plain, found):
        state = {k: v.double().requires_grad_() for k, v in parents()[0].items()}
        x = samples().x.double().requires_grad_()
        values = x
        for level in traced.levels:
            (values,) = Program(traced, None if level.input is None else [level.input], [level.output])(state, values)
        weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results.append([values, *torch.autograd.grad((values * weights).sum(), [x, *state.values()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


class Folded(nn.Module):
    """Samples and positions as one dimension of fixed size; positions_first: sample after sample inside a position."""

    def __init__(self, positions_first: bool = False, mixed: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.positions_first, self.mixed = positions_first, mixed

    def forward(self, x: Tensor) -> Tensor:
        if self.positions_first:
            return self.b(self.a(x.transpose(0, 1).reshape(4 * 5, 6)).relu()).reshape(5, 4, 3).mean(0)
        y = self.b(self.a(x.reshape(4 * 5, 6)).relu()).reshape(4, 5, 3).mean(1)
        return y - y.mean(0) if self.mixed else y


def of_each(model: nn.Module, x: Tensor) -> Tensor:
    """What the model gives for every sample, in a batch of copies of it."""
    with torch.no_grad():
        return torch.cat([model(sample.expand(4, 5, 6))[:1] for sample in x])


@pytest.mark.parametrize("positions_first", [False, True])
@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_samples_folded_with_positions(positions_first: bool, count: int) -> None:
    model, x = Folded(positions_first).eval(), torch.randn(count, 5, 6)
    found = trace(model, (torch.randn(4, 5, 6),))
    inner = found.layers["a"].output
    (out,) = Program(found, None, [found.output])(model.state_dict(), x)
    assert difference((of_each(model, x),), (out,)) < 1e-6
    (rows,) = Program(found, None, [inner])(model.state_dict(), x)
    assert difference((model.a(x.transpose(0, 1) if positions_first else x).flatten(0, 1),), (rows,)) < 1e-6
    (out,) = Program(found, [inner], [found.output])(model.state_dict(), rows)
    assert difference((of_each(model, x),), (out,)) < 1e-6


def test_samples_that_depend_on_each_other_are_refused() -> None:
    model = Folded(mixed=True).eval()
    found = trace(model, (torch.randn(4, 5, 6),))
    program = Program(found, None, [found.output])
    assert program(model.state_dict(), torch.randn(4, 5, 6))[0].shape == (4, 3)
    with pytest.raises(UnsupportedModelError, match=r"traced with 4 samples and got 5.*do not stay apart at 'sub'"):
        program(model.state_dict(), torch.randn(5, 5, 6))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(self.a(x)).relu().view(4, 8))


def test_batch_norm_is_not_trained_on_parts_of_a_batch() -> None:
    model, x = Normed().eval(), torch.randn(6, 6)
    found = trace(model, (x[:4],))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    train = Program(found, None, [found.output], train=True)
    train(state, x[:4])
    assert int(state["norm.num_batches_tracked"]) == 1
    with pytest.raises(UnsupportedModelError, match=r"fixes the batch size to 4 samples.*batch norm"):
        train(state, x)
    assert int(state["norm.num_batches_tracked"]) == 1
    assert Program(found, None, [found.output])(state, x)[0].shape == (6, 3)


class Convolution(nn.Module):
    """A network that DeepLIFT has rules for, its maps made rows in several ways."""

    def __init__(self, written: str = "plain") -> None:
        super().__init__()
        self.a, self.b, self.c, self.written = nn.Conv2d(3, 6, 5), nn.Linear(6 * 4 * 4, 12), nn.Linear(12, 10), written

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.a(x).relu(), 3)
        rows = {
            "plain": lambda: x.flatten(1),
            "length": lambda: x.reshape(len(x), -1),
            "unrolled": lambda: torch.stack([sample.flatten() for sample in x]),
        }
        return self.c(self.b(rows[self.written]()).tanh())


@pytest.mark.parametrize("how", ["length", "unrolled"])
@pytest.mark.parametrize("method", registry.names("importance"))
def test_importances_of_a_convolutional_network(how: str, method: str) -> None:
    plain, other = Convolution().eval(), Convolution(how).eval()
    example, state = (samples().x[:4],), {k: v.detach() for k, v in plain.state_dict().items()}
    traces = trace(plain, example), trace(other, example)
    assert traces[1].capture.dynamic == (how == "length")
    expected, found = (score(t, state, samples(), method, {}) for t in traces)
    for space in expected:
        torch.testing.assert_close(found[space], expected[space], rtol=1e-3, atol=1e-6)


def test_pairs_do_not_fit_in_an_odd_batch() -> None:
    plain, other = Convolution().eval(), Convolution("unrolled").eval()
    odd, state = trace(other, (samples().x[:3],)), {k: v.detach() for k, v in other.state_dict().items()}
    with pytest.raises(UnsupportedModelError, match=r"traced with 3 samples and got 42.*2 samples go together"):
        score(odd, state, samples(), "deeplift", {})
    found = score(odd, state, samples(), "conductance", {})
    for space, scores in score(trace(plain, (samples().x[:4],)), state, samples(), "conductance", {}).items():
        torch.testing.assert_close(found[space], scores, rtol=1e-3, atol=1e-6)


def test_nothing_is_asked_about_samples_in_models_with_a_free_batch() -> None:
    assert written("vit_length").capture.samples == {}
    assert "_folded" not in vars(written("vit_length").capture)
    assert replace(written("vit_length").capture, strands=2).place("x") == Samples(0)
