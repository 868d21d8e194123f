"""Weights that hooks compute (weight norm, spectral norm, pruning): fused as weights, in the file's own names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from fusion_engine import fuse, load_parents, trace
from fusion_engine.data import make_dataset
from fusion_engine.graph import permute_state, verify


def _net(change: Callable[[nn.Module], object]) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2), nn.Flatten(), nn.Linear(200, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change(model[0])
        change(model[2])
    return model


def old_weight_norm() -> nn.Module:
    return _net(weight_norm)


def new_weight_norm() -> nn.Module:
    return _net(parametrizations.weight_norm)


def old_spectral_norm() -> nn.Module:
    return _net(spectral_norm)


def new_spectral_norm() -> nn.Module:
    return _net(parametrizations.spectral_norm)


def pruned() -> nn.Module:
    return _net(lambda layer: prune.l1_unstructured(layer, "weight", 0.4))


KINDS = [old_weight_norm, new_weight_norm, old_spectral_norm, new_spectral_norm, pruned]


def changed(kind: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    """Other weights of the same network, as training leaves them."""
    model = kind()
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for name, mask in model.named_buffers():
            if name.endswith("_mask"):
                mask.copy_((torch.rand_like(mask) > 0.4).float())
        for _ in range(10):  # power iterations
            model(torch.randn(1, 2, 6, 6))
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_fused_in_its_own_names(kind: Callable[[], nn.Module], tmp_path: Path) -> None:
    data = make_dataset(torch.randn(40, 2, 6, 6).numpy(), None, None, None, 5, "x")
    model = kind().eval()
    first, other = changed(kind, 1), changed(kind, 2)
    graph = trace(model, (data.x[:2],))
    assert verify(graph, first, (data.x[:2],)).difference < 1e-10
    twin = dict(first)
    for space in graph.spaces.values():
        twin |= permute_state(twin, space, np.roll(np.arange(space.size), 1), graph)
    for name, state in (("a", first), ("twin", twin), ("other", other)):
        torch.save(state, tmp_path / f"{name}.pt")
    spec = f"{__name__}:{kind.__name__}"
    a, b, c = load_parents([tmp_path / f"{n}.pt" for n in ("a", "twin", "other")], spec, input_shape=(2, 6, 6))

    with torch.no_grad():
        wanted = a.model(data.x)
    fused = fuse([a, b], data, "git_rebasin_activations")
    assert any("'0" in line and "averaged" in line for line in fused.report["warnings"])
    again = kind().eval()
    again.load_state_dict(fused.state, strict=True)
    with torch.no_grad():
        assert float((again(data.x) - wanted).norm() / wanted.norm()) < 1e-5
        assert torch.allclose(fused.model(data.x), again(data.x), atol=1e-6)

    # Of different parents the weights themselves are averaged.
    mean = fuse([a, c], data, "average").model
    with torch.no_grad():
        for parent in (a, c, fused):
            parent.model(data.x)  # hooks compute the weights
        mean(data.x)
        for i in (0, 2):
            assert torch.allclose(mean[i].weight, (a.model[i].weight + c.model[i].weight) / 2, atol=1e-5)


class _Softplus(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return nn.functional.softplus(weight)


class _Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


class _Standardised(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight / self.weight.std(1, keepdim=True), self.bias)


class _Masked(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", torch.ones(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


@pytest.mark.parametrize(
    ("inner", "by", "operator"),
    [
        (nn.Linear, _Softplus, "softplus"), (_Standardised, None, "std"),
        (nn.Linear, None, ""), (nn.Linear, _Symmetric, ""), (_Masked, None, ""),
    ],
)  # fmt: skip
def test_weights_computed_otherwise_are_said_to_be_averaged_as_they_are(
    inner: type[nn.Linear], by: type[nn.Module] | None, operator: str
) -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), inner(6, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    name = "2.weight"
    if by is not None:
        parametrize.register_parametrization(model[2], "weight", by())
        name = "2.parametrizations.weight.original"
    said = [line for line in trace(model, (torch.randn(2, 5),)).warnings if "averaged as they are" in line]
    assert len(said) == bool(operator)
    assert not operator or f"computed from {name} ({operator})" in said[0]
