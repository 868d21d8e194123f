"""Scores on every architecture of the zoo: residual streams, heads, attention modules that put tokens first."""

from __future__ import annotations

import pytest
import torch

from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.registry import names
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace, output_shape, trace
from fusion_engine.importance import attribution, feature_ablation, score
from tests.zoo import build, zoo_names


def traced(name: str) -> tuple[Trace, dict[str, torch.Tensor], Dataset]:
    model, inputs = build(name)
    if len(inputs) > 1 or not inputs[0].is_floating_point():
        pytest.skip("one real-valued input is scored")
    found = trace(model, inputs)
    if len(output_shape(found) or ()) != 1:
        pytest.skip("the model has no classes")
    x = torch.randn(6, *inputs[0].shape[1:], generator=torch.Generator().manual_seed(0))
    return found, model.state_dict(), Dataset(x=x, y=torch.arange(6) % 2, classes=2)


@pytest.mark.parametrize("method", names("importance"))
@pytest.mark.parametrize("name", zoo_names())
def test_every_neuron_has_a_score(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, state, data = traced(name)
    try:
        whole = score(found, state, data, method)
    except UnsupportedModelError:
        with pytest.raises(UnsupportedModelError, match=r"has no rule .* importance method 'conductance'"):
            score(found, state, data, method)
        return
    assert set(whole) == {*found.spaces, "output"}
    for space, values in whole.items():
        assert space == "output" or values.shape == (found.spaces[space].size,)
        assert torch.isfinite(values).all()
        assert (values > 0).all()
    for module in (attribution, feature_ablation):
        monkeypatch.setattr(module, "fitting_batch", lambda *_, **__: 4)
    for space, values in score(found, state, data, method).items():
        torch.testing.assert_close(values, whole[space], rtol=1e-4, atol=1e-7)
