"""Batch norm statistics: recalibration against torch's own training mode, pooling against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fusion_engine.post.channels import ChannelMoments
from tests.fusions import refine
from tests.post.fused_cases import fused_case

WITH_NORMS = ["vgg_bn_2fc", "resnet", "densenet", "mobilenet", "shufflenet", "conv1d_gn"]


def statistics_of_one_batch(model: nn.Module, state: dict, x: torch.Tensor) -> dict:
    """What torch.optim.swa_utils.update_bn does for a loader of one batch: cumulative averages, dropout off."""
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        model(x)
    return {k: v.clone() for k, v in model.eval().state_dict().items()}


@pytest.mark.parametrize("name", WITH_NORMS)
def test_recalibration_is_a_training_pass_over_all_samples(name: str) -> None:
    model, context, fused = fused_case(name)
    expected = statistics_of_one_batch(model, fused, context.data.normalised())
    found = refine(context, fused, "norm_recalibration")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5)
    assert any(not torch.equal(found[k], fused[k]) for k in found if k.endswith("running_var"))


def test_recalibration_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    _, context, fused = fused_case("resnet")
    whole = refine(context, fused, "norm_recalibration")
    monkeypatch.setattr("fusion_engine.post.channels.batch_size", lambda *_: 7)
    monkeypatch.setattr("fusion_engine.post.channels._BUDGET", 1)  # nothing is kept
    parts = refine(context, fused, "norm_recalibration")
    for key in whole:
        torch.testing.assert_close(parts[key], whole[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("step", ["norm_recalibration", "pooled_buffers"])
def test_folded_norms_stay_and_the_notes_say_so(step: str) -> None:
    _, context, fused = fused_case("vgg_bn_2fc", solver="least_squares")
    found = refine(context, fused, step)
    assert all(torch.equal(found[k], fused[k]) for k in fused)
    assert any("8 batch norms are folded" in note and "solver 'average'" in note for note in context.notes)


def test_a_model_without_norms_is_left_alone_with_a_note() -> None:
    _, context, fused = fused_case("mlp")
    assert all(torch.equal(v, fused[k]) for k, v in refine(context, fused, "norm_recalibration").items())
    assert context.notes[-1] == "norm_recalibration: the model has no batch norms, so nothing changes"


class Twice(nn.Module):
    """One batch norm at two places."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.norm = model, nn.BatchNorm1d(20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(self.norm(torch.tanh(self.norm(x))))


def test_a_norm_used_twice_stays_with_a_note() -> None:
    _, context, fused = fused_case("mlp", wrap=Twice)
    found = refine(context, fused, "norm_recalibration")
    assert torch.equal(found["norm.running_mean"], fused["norm.running_mean"])
    assert any("norm stays as it is, as it is used several times" in note for note in context.notes)


@pytest.mark.parametrize("counts", [None, np.array([[30, 10], [5, 15]])])
@pytest.mark.parametrize("name", ["vgg_bn_2fc", "densenet"])
def test_pooling_is_the_mixture_of_the_groups_neurons(name: str, counts: np.ndarray | None) -> None:
    """Brute force, neuron by neuron, also where a norm reads the concatenation of several spaces."""
    _, context, fused = fused_case(name, class_counts=counts)
    found = refine(context, fused, "pooled_buffers")
    samples = [1.0, 1.0] if counts is None else [40.0, 20.0]
    checked = 0
    for space in context.trace.spaces.values():
        merge = context.groupings[space.name].merge
        for member in (m for m in space.members if m.tensor.endswith("running_mean")):
            variance = member.tensor.replace("mean", "var")
            for i in range(space.size):
                weights, means, variances = [], [], []
                for p, state in enumerate(context.states):
                    for j in np.flatnonzero(merge[p][i]):
                        weights.append(samples[p] * merge[p][i, j])
                        means.append(float(state[member.tensor][member.index[j, 0]]))
                        variances.append(float(state[variance][member.index[j, 0]]))
                w = np.array(weights) / sum(weights)
                mean = w @ np.array(means)
                spread = w @ (np.array(variances) + (np.array(means) - mean) ** 2)
                at = member.index[i, 0]
                assert float(found[member.tensor][at]) == pytest.approx(mean, rel=1e-5, abs=1e-6)
                assert float(found[variance][at]) == pytest.approx(spread, rel=1e-5)
                checked += 1
    assert checked == sum(v.numel() for k, v in fused.items() if k.endswith("running_mean"))
    assert all(torch.equal(found[k], fused[k]) for k in fused if "running" not in k)


def test_channel_moments_do_not_depend_on_the_batches() -> None:
    rows = 1e4 + torch.randn(101, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = ChannelMoments()
    for part in rows.split([1, 40, 60]):
        moments.add(part)
    torch.testing.assert_close(moments.mean, rows.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.unbiased_variance, rows.var(0), rtol=1e-9, atol=0)
    torch.testing.assert_close(moments.variance, rows.var(0, unbiased=False), rtol=1e-9, atol=0)
