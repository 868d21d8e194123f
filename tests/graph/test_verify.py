"""Verification finds wrong spaces, and errors are one clear line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fusion_engine.core.errors import UnsupportedModelError, VerificationError
from fusion_engine.graph import Program, label_rule, permute_state, trace, verify, verify_all
from fusion_engine.graph.rules import registry
from tests.zoo import build
from tests.zoo_models.chains import DataDependent

from .traced_zoo import Traced, difference, traced


def test_every_zoo_model_passes(zoo: Traced) -> None:
    report = verify(zoo.trace, zoo.model, zoo.inputs)
    assert report.difference < 1e-12
    assert report.spaces == tuple(zoo.trace.spaces)
    assert report.warnings == ()


def test_several_parents() -> None:
    zoo = traced("vgg_bn_2fc")
    states = [build("vgg_bn_2fc", seed=s)[0].state_dict() for s in range(3)]
    assert [r.difference < 1e-12 for r in verify_all(zoo.trace, states, zoo.inputs)] == [True] * 3


def test_a_forgotten_member_is_found_and_named() -> None:
    zoo = traced("vgg11")
    space = zoo.trace.spaces["features.8"]
    broken = replace(zoo.trace, spaces={**zoo.trace.spaces, space.name: replace(space, members=space.members[:-1])})
    with pytest.raises(VerificationError, match=r"space 'features\.8' .*features\.8"):
        verify(broken, zoo.state, zoo.inputs)


def test_a_model_that_ignores_its_input_is_warned_about() -> None:
    zoo = traced("mlp")
    dead = {**zoo.state, "fc.2.weight": torch.zeros_like(zoo.state["fc.2.weight"])}
    report = verify(zoo.trace, dead, zoo.inputs)
    assert "hardly react" in report.warnings[0]
    broken = {**zoo.state, "fc.2.bias": zoo.state["fc.2.bias"] * float("nan")}
    with pytest.raises(VerificationError, match="not finite"):
        verify(zoo.trace, broken, zoo.inputs)


def test_tracing_and_verifying_leave_the_model_as_it_was() -> None:
    model, inputs = build("vit_encoder_pre")
    model.train()
    model.encoder.layers[0].eval()
    modes = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    verify(trace(model, inputs), model, inputs)
    assert [m.training for m in model.modules()] == modes
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_batch_of_one_and_frozen_parameters() -> None:
    model, inputs = build("vit_encoder_post")
    model.requires_grad_(False)
    found = trace(model, (inputs[0][:1],))
    assert list(found.spaces) == list(traced("vit_encoder_post").trace.spaces)
    with torch.no_grad():
        result = Program(found, None, [found.output])(model.state_dict(), *inputs)
        assert difference((model(*inputs),), result) < 1e-6


def test_data_dependent_control_flow_is_refused_in_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        trace(DataDependent(), (torch.randn(4, 6),))
    message = str(caught.value)
    assert "DataDependent" in message
    assert "torch.where or torch.cond" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@torch.library.custom_op("zoo::double", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(twice(self.first(x)))


def test_an_unknown_operator_is_named_and_can_be_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = Custom(), (torch.randn(4, 6),)
    with pytest.raises(UnsupportedModelError, match=r"'zoo::double' in the model itself .*label_rule\('zoo::double'\)"):
        trace(model, inputs)
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @label_rule("zoo::double")
    def rule(call):
        return call.algebra.elementwise(call.tensors(), call.shape, "mul", call.tag)

    found = trace(model, inputs)
    assert found.spaces["first"].freedom == "gl"
    assert verify(found, model, inputs).difference < 1e-12


class DataIndexed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(h[:, (x[0] > 0).long().cumsum(0)[[0, 0, 0, 0, 1, 1, 2, 2]]])


def test_an_index_that_depends_on_the_data_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="depends on the data"):
        trace(DataIndexed(), (torch.randn(4, 6),))


def test_permuting_with_aliases_returns_all_names() -> None:
    zoo = traced("language_model")
    stream = next(s for s in zoo.trace.spaces.values() if any(m.tensor == "token.weight" for m in s.members))
    moved = permute_state(zoo.state, stream, list(range(stream.size))[::-1], zoo.trace)
    assert moved["token.weight"] is moved["out.weight"]
