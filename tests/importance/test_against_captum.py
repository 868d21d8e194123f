"""Scores of all spaces from one pass equal captum's, which it computes layer by layer."""

from __future__ import annotations

import torch
from captum.attr import LayerConductance, LayerDeepLift, LayerFeatureAblation, LayerGradientXActivation
from importance_cases import Case
from torch import Tensor, nn

from fusion_engine.importance import score
from tests.module_hooks import capture


def assert_scores(case: Case, method: str, expected: dict[str, Tensor], **parameters: int) -> None:
    found = score(case.trace, case.state, case.data, method, parameters)
    assert set(found) == set(expected) == {*case.trace.spaces, "output"}
    for name, values in expected.items():
        error = float((found[name] - values.clamp_min(1e-8)).abs().max() / values.max())
        assert error < 1e-5, f"{name}: {error}"


def test_conductance(case: Case) -> None:
    def oracle(module: nn.Module) -> Tensor:
        return LayerConductance(case.model, module).attribute(case.data.x, target=case.data.y, n_steps=10)

    assert_scores(case, "conductance", case.expected(oracle), n_steps=10)


class Copied(nn.Module):
    """A pool that reads a copy of its input.

    Where a pool reads an activation's output tensor itself, captum's hook of the activation gets the gradient
    before the pool's rule has changed it, and the attributions no longer sum to the change of the logit.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x.clone())


def test_deeplift(case: Case) -> None:
    model = nn.Sequential(*(Copied(m) if isinstance(m, nn.MaxPool2d) else m for m in case.model.children()))

    def oracle(module: nn.Module) -> Tensor:
        return LayerDeepLift(model, module).attribute(case.data.x, target=case.data.y)

    assert_scores(case, "deeplift", case.expected(oracle))


def test_gradient_x_activation(case: Case) -> None:
    def oracle(module: nn.Module) -> Tensor:
        return LayerGradientXActivation(case.model, module).attribute(case.data.x, target=case.data.y)

    assert_scores(case, "gradient_x_activation", case.expected(oracle))


def test_feature_ablation(case: Case) -> None:
    def oracle(module: nn.Module) -> Tensor:
        with torch.no_grad():
            shape = _output(case.model, module, case.data.x).shape
        mask = torch.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2)).expand(1, *shape[1:])
        values = LayerFeatureAblation(case.model, module).attribute(
            case.data.x, target=case.data.y, layer_mask=mask.contiguous()
        )
        return values.flatten(2)[:, :, 0] if values.ndim > 2 else values  # a channel's loss stands at every position

    assert_scores(case, "feature_ablation", case.expected(oracle))


def _output(model: nn.Module, module: nn.Module, x: Tensor) -> Tensor:
    name = next(n for n, m in model.named_modules() if m is module)
    with capture(model, [name]) as captured:
        model(x)
    return captured.outputs[name]
