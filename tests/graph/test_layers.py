"""Layers: names, options, folded norms, nodes, spaces."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusion_engine.fusing import fold_norms
from fusion_engine.graph import Program, read_site, trace

from .traced_zoo import Traced, traced


def test_a_layer_is_its_weight_applied_to_its_input(zoo: Traced) -> None:
    convolutions = {1: F.conv1d, 2: F.conv2d}
    transposed = {2: F.conv_transpose2d}
    for layer in zoo.trace.layers.values():
        program = Program(zoo.trace, None, [layer.input, layer.output])
        with torch.no_grad():
            x, y = program(zoo.state, *zoo.inputs)
            weight = zoo.state[layer.weight]
            bias = None if layer.bias is None else zoo.state[layer.bias]
            if layer.kind == "linear":
                expected = F.linear(x, weight, bias)
            else:
                options = dict(layer.options)
                run = (transposed if options.pop("transposed") else convolutions)[weight.dim() - 2]
                expected = run(x, weight, bias, **options)
            if layer.norm is not None:
                norm = layer.norm
                expected = F.batch_norm(
                    expected,
                    zoo.state[norm.running_mean],
                    zoo.state[norm.running_var],
                    None if norm.weight is None else zoo.state[norm.weight],
                    None if norm.bias is None else zoo.state[norm.bias],
                    eps=norm.eps,
                )
        torch.testing.assert_close(y, expected)
        assert y.shape[-1 if layer.kind == "linear" else 1] == weight.shape[1 if layer.options.get("transposed") else 0]


def test_names_are_module_paths(zoo: Traced) -> None:
    paths = {name for name, _ in zoo.model.named_modules()}
    for name in zoo.trace.layers:
        owner = name.split("#")[0].removesuffix(".in_proj")
        assert owner in paths, "torch's attention module owns a projection that is no module"


def test_expected_layers() -> None:
    assert list(traced("mlp").trace.layers) == ["fc.0", "fc.1", "fc.2"]
    assert list(traced("tied").trace.layers) == ["encoder", "middle", "twice", "twice#1"]
    vgg = traced("vgg_bn_2fc").trace.layers
    assert vgg["features.4"].norm is not None
    assert vgg["features.4"].norm.running_mean == "features.5.running_mean"
    assert vgg["classifier.0"].norm is None
    shuffle = traced("shufflenet").trace.layers
    assert shuffle["depthwise"].options["groups"] == 8
    assert traced("unet").trace.layers["up"].options["transposed"] is True
    dense = traced("densenet").trace.layers
    assert dense["stem"].norm is None, "the map also goes on to the next block"
    module = traced("vit_module").trace.layers["blocks.0.attention.attention.in_proj"]
    assert module.bias == "blocks.0.attention.attention.in_proj_bias"


class _SharedNorm(nn.Module):
    """One norm behind two layers, or one layer before two norms."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(6) for _ in range(3 - layers))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norms[0](self.layers[0](x)).relu()
        return self.head(self.norms[-1](self.layers[-1](x)).relu())


@pytest.mark.parametrize("layers", [1, 2])
def test_shared_norms_are_not_folded(layers: int) -> None:
    torch.manual_seed(0)
    model = _SharedNorm(layers).eval()
    for norm in model.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(4, 6)
    found = trace(model, (x,))
    assert all(layer.norm is None for layer in found.layers.values())
    state = model.state_dict()
    folded = fold_norms(state, list(found.layers.values()))
    torch.testing.assert_close(Program(found, None, [found.output])(folded, x)[0], model(x))


def test_spaces_and_features() -> None:
    vgg = traced("vgg_bn_2fc").trace
    assert vgg.layers["classifier.3"].space is None
    for layer in list(vgg.layers.values())[:-1]:
        assert layer.space is not None
        (feature,) = vgg.spaces[layer.space].features
        assert feature.node == layer.output
    resnet = traced("resnet").trace
    stream = resnet.spaces["conv1"]
    made_by = [layer.output for layer in resnet.layers.values() if layer.space == stream.name]
    assert len(made_by) > 1, "many layers write the residual stream"
    assert all(site.node.startswith("add") for site in stream.features), "it is read where it is summed up"
    assert {resnet.layers[n].space for n in ("conv1", "layers.0.conv2", "layers.1.conv2")} == {"conv1"}
    assert len({site.node for site in stream.sites}) > 5
    assert len(resnet.spaces["layers.0.conv1"].features) == 1


def test_reading_a_feature() -> None:
    zoo = traced("vgg11")
    (feature,) = zoo.trace.spaces["features.3"].features
    tensor = Program(zoo.trace, None, [feature.node])(zoo.state, *zoo.inputs)[0]
    rows = read_site(tensor, feature)
    assert rows.shape == (16, 4 * 16 * 16)
    torch.testing.assert_close(rows[3], tensor[:, 3].reshape(-1))
