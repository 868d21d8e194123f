"""One pass over the data gives the joint moments of all parents in all spaces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from fusion_engine.core.errors import Cancelled
from fusion_engine.core.progress import Progress, ProgressEvent
from fusion_engine.data import Dataset
from fusion_engine.graph import Trace, trace
from fusion_engine.stats import parent_moments, post_activation_sites
from tests.module_hooks import capture
from tests.zoo import build


def parents() -> tuple[list[nn.Sequential], Trace, Dataset]:
    torch.manual_seed(0)
    models = [
        nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2)
        ).eval()
        for _ in range(2)
    ]
    for model in models:
        model[1].running_mean.normal_()
    data = Dataset(torch.randn(20, 1, 6, 6), None, classes=2)
    return models, trace(models[0], (data.x[:2],)), data


def test_moments_equal_those_of_all_features_at_once() -> None:
    models, traced, data = parents()
    found = parent_moments(traced, [m.state_dict() for m in models], data, batch_size=7)
    names = {traced.layers["0"].space: "1", traced.layers["4"].space: "4"}
    assert set(found) == set(names)
    for space, module in names.items():
        features = []
        for model in models:
            with torch.no_grad(), capture(model, [module]) as captured:
                model(data.x)
            features.append(captured.outputs[module].movedim(1, -1).flatten(0, -2).double())
        f = torch.cat(features, 1).numpy()
        gram, mean, count, *_ = found[space]
        assert count == len(f)
        np.testing.assert_allclose(gram, f.T @ f, atol=1e-5)
        np.testing.assert_allclose(mean, f.mean(0), atol=1e-6)


def test_post_activations_are_what_the_next_layer_reads() -> None:
    models, traced, data = parents()
    sites = post_activation_sites(traced)
    assert set(sites) == set(traced.spaces)
    states = [m.state_dict() for m in models]
    found = parent_moments(traced, states, data, sites=sites)
    space = traced.layers["0"].space
    assert space is not None
    features = []
    for model in models:
        with torch.no_grad(), capture(model, ["2"]) as captured:
            model(data.x)
        features.append(captured.outputs["2"].movedim(1, -1).flatten(0, -2).double())
    f = torch.cat(features, 1)
    np.testing.assert_allclose(found[space].gram, (f.T @ f).numpy(), atol=1e-5)
    assert found[space].count == len(f)


def test_batch_size_and_order_do_not_matter() -> None:
    models, traced, data = parents()
    states = [m.double().state_dict() for m in models]
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    double = _Double(data.x.double())
    whole = parent_moments(traced, states, double, batch_size=20)  # type: ignore[arg-type]
    parts = parent_moments(traced, states, _Double(double.x[order]), batch_size=3)  # type: ignore[arg-type]
    for space, moments in whole.items():
        np.testing.assert_allclose(parts[space].gram, moments.gram, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(parts[space].mean, moments.mean, rtol=1e-10, atol=1e-10)


class _Double:
    """Float64 batches, so that only the accumulation can differ."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> list[tuple[torch.Tensor, None]]:
        return [(part, None) for part in self.x.split(size)]

    def counted(self, x: torch.Tensor) -> None:
        """All positions count."""


def test_one_space_progress_and_cancel() -> None:
    models, traced, data = parents()
    states = [m.state_dict() for m in models]
    only = next(iter(traced.spaces))
    events: list[ProgressEvent] = []
    found = parent_moments(traced, states, data, spaces=[only], batch_size=8, progress=Progress(events.append))
    assert list(found) == [only]
    assert all(a.fraction < b.fraction for a, b in pairwise(events))

    def stop(event: ProgressEvent) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        parent_moments(traced, states, data, progress=Progress(stop))


@pytest.mark.parametrize("batch", [5, 8])
def test_held_out_moments_where_attention_puts_tokens_first(batch: int) -> None:
    """Samples are held out, not tokens; also in a batch of as many samples as there are tokens."""
    model, inputs = build("vit_module")
    traced = trace(model, inputs)
    tokens = {n.meta["val"].shape[0] for n in traced.capture.graph.nodes if traced.capture.batch_dim(n.name) == 1}
    assert 5 in tokens
    torch.manual_seed(0)
    data = Dataset(torch.randn(8, *inputs[0].shape[1:]), None, classes=2)
    held = torch.tensor([True, False, True, False, False, False, True, False])
    state = model.state_dict()
    found = parent_moments(traced, [state], data, batch_size=batch, held_out=held)
    alone = parent_moments(traced, [state], data.subset([0, 2, 6]), batch_size=batch)
    whole = parent_moments(traced, [state], data, batch_size=batch)
    apart = [name for name, moments in found.items() if moments.held is not None]
    assert len(apart) > 1
    for name in apart:
        np.testing.assert_allclose(found[name].held, alone[name].gram, atol=1e-4)
        np.testing.assert_allclose(found[name].gram, whole[name].gram, atol=1e-4)
