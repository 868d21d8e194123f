"""REPAIR: the means and spreads that fused neurons have afterwards, measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion_engine.graph import Program, merge_outputs
from fusion_engine.stats import feature_rows
from tests.fusions import refine
from tests.post.fused_cases import fused_case

MODELS = [
    "mlp", "vgg11", "vgg_bn_2fc", "resnet", "densenet", "mobilenet", "shufflenet", "unet", "vit_fused", "vit_module",
]  # fmt: skip


def measured(context, state: dict) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Mean and standard deviation of every layer's outputs over samples and positions, by layer."""
    layers = list(context.trace.layers.values())
    with torch.no_grad():
        outputs = Program(context.trace, None, [x.output for x in layers])(state, context.data.normalised())
    rows = [feature_rows(layer, y).double() for layer, y in zip(layers, outputs, strict=True)]
    return {layer.name: (r.mean(0), r.std(0, unbiased=False)) for layer, r in zip(layers, rows, strict=True)}


@pytest.mark.parametrize("solver", ["average", "least_squares"])
@pytest.mark.parametrize("name", MODELS)
def test_fused_neurons_get_the_means_and_spreads_of_their_groups(name: str, solver: str) -> None:
    _, context, fused = fused_case(name, solver=solver)
    repaired = refine(context, fused, "repair")
    parents, found = [measured(context, s) for s in context.states], measured(context, repaired)
    checked = 0
    for layer in made(context):
        merge = merge_outputs(context.states, context.trace, context.groupings, layer)
        mean = sum(m @ p[layer.name][0] for m, p in zip(merge, parents, strict=True))
        spread = sum(m @ p[layer.name][1] for m, p in zip(merge, parents, strict=True))
        # A neuron whose inputs are dead in the fused model cannot vary.
        alive = (spread > 1e-3) & (found[layer.name][1] > 1e-6)
        torch.testing.assert_close(found[layer.name][1][alive], spread[alive], rtol=2e-3, atol=1e-4)
        if layer.bias is not None or layer.norm is not None:
            torch.testing.assert_close(found[layer.name][0][alive], mean[alive], rtol=2e-3, atol=1e-3)
        checked += int(alive.sum())
    assert checked > 0.9 * sum(context.groupings[s].size for s in {x.space for x in made(context)})
    assert not any(torch.equal(repaired[x.weight], fused[x.weight]) for x in made(context) if x.norm is None)
    last = [x for x in context.trace.layers.values() if x.output == context.trace.output]
    assert all(torch.equal(repaired[x.weight], fused[x.weight]) for x in last)


def made(context) -> list:
    """Layers whose outputs are neurons of a space."""
    return [x for x in context.trace.layers.values() if x.space is not None]


class PartNorm(nn.Module):
    """A batch norm with a weight, a bias, both or neither."""

    def __init__(self, norm: nn.BatchNorm2d, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.weight, self.bias = (getattr(norm, name) if name in parts else None for name in ("weight", "bias"))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


@pytest.mark.parametrize("parts", [(), ("weight",), ("bias",)])
@pytest.mark.parametrize("solver", ["average", "least_squares"])
def test_norms_that_lack_parameters_are_repaired_too(parts: tuple[str, ...], solver: str) -> None:
    def part_norms(model: nn.Module) -> nn.Module:
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, PartNorm(child, parts))
        return model

    _, context, fused = fused_case("resnet", solver=solver, wrap=part_norms)
    found, parents = measured(context, refine(context, fused, "repair")), [measured(context, s) for s in context.states]
    for layer in made(context):
        merge = merge_outputs(context.states, context.trace, context.groupings, layer)
        for i in (0, 1):
            wanted = sum(m @ p[layer.name][i] for m, p in zip(merge, parents, strict=True))
            torch.testing.assert_close(found[layer.name][i], wanted, rtol=2e-3, atol=1e-3)


def test_dead_neurons_stay_dead_and_harm_nobody() -> None:
    _, context, fused = fused_case("mlp", grouping="balanced")
    dead = {"fc.0.weight": torch.zeros_like(fused["fc.0.weight"][3]), "fc.0.bias": fused["fc.0.bias"][3] * 0 - 2}
    broken = {k: v.clone() for k, v in fused.items()}
    for name, value in dead.items():
        broken[name][3] = value
    repaired = refine(context, broken, "repair")
    for name, value in dead.items():
        assert torch.equal(repaired[name][3], value)
    assert all(tensor.isfinite().all() for tensor in repaired.values())


def test_shared_weights_are_left_alone_with_a_note() -> None:
    _, context, fused = fused_case("tied", labels=False)
    repaired = refine(context, fused, "repair")
    assert all(torch.equal(fused[name], repaired[name]) for name in fused)  # nothing else makes a space
    assert "repair: layer encoder stays as it is: its weights are used elsewhere too" in context.notes


def test_layers_without_bias_get_the_scale_alone() -> None:
    _, context, fused = fused_case("densenet")
    refine(context, fused, "repair")
    assert any("convs.0 has no bias" in note for note in context.notes)


def test_repair_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    _, context, fused = fused_case("resnet")
    whole = refine(context, fused, "repair")
    for module in ("repair", "channels"):
        monkeypatch.setattr(f"fusion_engine.post.{module}.batch_size", lambda *_: 5)
    monkeypatch.setattr("fusion_engine.post.channels._BUDGET", 1)
    parts = refine(context, fused, "repair")
    for key in whole:
        torch.testing.assert_close(parts[key], whole[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", ["rescale", "bias_calibration"])
@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet"])
def test_spread_or_mean_alone(name: str, step: str) -> None:
    """RESCALE sets the spread and multiplies the mean alike; bias calibration sets the mean and leaves the spread."""
    _, context, fused = fused_case(name)
    changed = refine(context, fused, step)
    parents, found = [measured(context, s) for s in context.states], measured(context, changed)
    first = next(x for x in made(context))
    before = measured(context, fused)[first.name]
    for layer in made(context):
        merge = merge_outputs(context.states, context.trace, context.groupings, layer)
        which = 1 if step == "rescale" else 0
        wanted = sum(m @ p[layer.name][which] for m, p in zip(merge, parents, strict=True))
        spread = sum(m @ p[layer.name][1] for m, p in zip(merge, parents, strict=True))
        alive = (spread > 1e-3) & (found[layer.name][1] > 1e-6)
        torch.testing.assert_close(found[layer.name][which][alive], wanted[alive], rtol=2e-3, atol=1e-3)
    mean, deviation = found[first.name]
    if step == "rescale":
        torch.testing.assert_close(mean * before[1], before[0] * deviation, rtol=2e-3, atol=1e-3)
    else:
        torch.testing.assert_close(deviation, before[1], rtol=2e-3, atol=1e-4)
