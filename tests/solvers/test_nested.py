"""Attention heads: matched whole first, then the neurons inside the heads that met."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.core.recipe import Step
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import permute_state, trace
from fusion_engine.importance import score
from tests.fusions import Fusion, group
from tests.zoo import build


def two_parents(name: str, grouping: str, noise: float = 0.05) -> tuple[Fusion, dict[str, np.ndarray]]:
    """A model, and a noisy copy with every space shuffled; the permutations."""
    model, inputs = build(name)
    traced = trace(model, inputs)
    random = np.random.default_rng(0)
    first = {k: v.detach().clone() for k, v in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    second = {
        k: v + noise * v.std() * torch.randn(v.shape, generator=generator) if v.is_floating_point() else v
        for k, v in first.items()
    }
    orders = {}
    for space in traced.spaces.values():
        orders[space.name] = random.permutation(space.size)
        second.update(permute_state(second, space, orders[space.name], traced))
    x = torch.randn(60, *inputs[0].shape[1:], generator=generator)
    data = canonical_order(Dataset(x=x, y=torch.arange(60) % 2, classes=2))
    scores = tuple(score(traced, s, data, "activation") for s in (first, second))
    context = Fusion(traced, (first, second), data, scores, Step(method=grouping))
    return context, orders


@pytest.mark.parametrize("grouping", ["balanced", "hungarian"])
@pytest.mark.parametrize("name", ["vit_fused", "vit_manual", "vit_module", "vit_encoder_post", "conv1d_gn", "unet"])
def test_shuffled_heads_and_what_is_in_them_are_found(name: str, grouping: str) -> None:
    context, orders = two_parents(name, grouping)
    groupings = group(context).groupings
    for nest in context.trace.nests.values():
        heads = orders[nest.block]  # new head j is old head heads[j]
        first, second = groupings[nest.block].labels
        assert (second == first[heads]).all()
        for kind in nest.kinds:
            for head, space in enumerate(kind):
                source = groupings[space].info["sources"]
                assert source[0] == space
                assert heads[kind.index(source[1])] == head
                # Blocks were shuffled first: the second parent's inner order is that of the space it sits in now.
                a, b = groupings[space].labels
                assert (b == a[orders[source[1]]]).all()


def test_k_means_gives_way_inside_heads_and_says_so() -> None:
    context, _ = two_parents("vit_fused", "kmeans")
    groupings = group(context).groupings
    for nest in context.trace.nests.values():
        for name in (nest.block, *(n for kind in nest.kinds for n in kind)):
            assert groupings[name].method == "balanced"
            assert groupings[name].info["fallback"]
            counts = [np.bincount(labels, minlength=groupings[name].size) for labels in groupings[name].labels]
            assert all((c == 1).all() for c in counts), "one neuron of every parent"
    assert any("grouped by balanced" in note for note in context.notes)
    assert groupings["blocks.0.mlp.0"].method == "kmeans"
