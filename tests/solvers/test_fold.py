"""Batch norms folded into their layers leave the function as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusion_engine.fusing import fold_norms
from fusion_engine.graph import Program, trace
from tests.post.test_repair import PartNorm


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parts", [(), ("weight",), ("bias",), ("weight", "bias")])
def test_a_folded_norm_is_the_identity_behind_its_layer(parts: tuple[str, ...], bias: bool, transposed: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6)
    for tensor in (norm.weight, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    for tensor in (norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = nn.Sequential(kind(4, 6, 3, groups=2, bias=bias), PartNorm(norm, parts), nn.ReLU(), nn.Flatten(),
                          nn.Linear(6 * (49 if transposed else 9), 2)).eval()  # fmt: skip
    x = torch.randn(3, 4, 5, 5)
    graph, before = trace(model, (x,)), {k: v.clone() for k, v in model.state_dict().items()}
    folded = fold_norms(before, graph.layers.values())
    program = Program(graph, None, [graph.output])
    torch.testing.assert_close(program(folded, x)[0], model(x), rtol=1e-5, atol=1e-5)
    assert bool((folded["1.running_var"] == 1).all())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
