"""Networks by name: sized to the data, as wide as one asks, and the same list everywhere."""

from __future__ import annotations

import math

import pytest
import torch

from fusion_engine.architectures import Config, MLPConfig, ResNetConfig, VGGConfig, ViTConfig, build, example_input
from fusion_engine.cli import train as command
from fusion_engine.core.errors import DataError, ParentError
from fusion_engine.data import Dataset, load_data
from fusion_engine.training import NETWORKS, network, train_parents


def images(*shape: int) -> Dataset:
    return Dataset(torch.zeros(4, *shape), torch.tensor([0, 1, 2, 3]), classes=4, name="images")


def parameters(config: Config) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def test_the_command_knows_all_networks() -> None:
    assert tuple(NETWORKS) == command._NETWORKS


def test_networks_fit_the_data() -> None:
    digits, pictures = load_data("digits:train"), images(3, 32, 32)
    assert network("mlp", digits) == MLPConfig((64, 64, 32, 10))
    small = network("vgg_bn", digits)
    assert isinstance(small, VGGConfig)
    assert small.batch_norm
    vgg11 = network("vgg", pictures)
    assert isinstance(vgg11, VGGConfig)
    assert vgg11.conv_widths == (64, 128, 256, 256, 512, 512, 512, 512)
    assert vgg11.flattened == 512
    assert network("resnet20", pictures) == ResNetConfig.cifar(20, (3, 32, 32), 4)
    assert network("resnet20", digits) == ResNetConfig.cifar(20, (1, 8, 8), 10, width=0.5)
    normed = network("resnet20_gn", pictures)
    assert isinstance(normed, ResNetConfig)
    assert (normed.norm, normed.groups) == ("group", 8)


@pytest.mark.parametrize(
    ("shape", "patch", "width"),
    [((1, 8, 8), 2, 48), ((3, 32, 32), 4, 96), ((1, 28, 28), 4, 96), ((3, 64, 64), 8, 96), ((1, 12, 20), 4, 48)],
)
def test_patches_fit_the_images(shape: tuple[int, ...], patch: int, width: int) -> None:
    config = network("vit", images(*shape))
    assert isinstance(config, ViTConfig)
    assert (config.patch, config.width, config.heads, len(config.hidden)) == (patch, width, 4, 4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28)])
def test_width_multiplies_the_hidden_widths(name: str, shape: tuple[int, ...]) -> None:
    data = images(*shape)
    plain = network(name, data)
    assert network(name, data, 1.0) == plain
    narrow, wide = network(name, data, 0.25), network(name, data, 2)
    assert parameters(narrow) < parameters(plain) < parameters(wide)
    for config in (narrow, network(name, data, 0.01), network(name, data, 1.37)):
        with torch.inference_mode():
            assert build(config)(example_input(config)).shape == (2, 4)
        assert math.prod(config.input_shape) == math.prod(shape)


def test_width_reaches_the_parents() -> None:
    digits = load_data("digits:train").subset(slice(0, 200))
    parents = train_parents("vgg", digits, regime="full", epochs=1, width=0.25)
    assert parents[0].architecture == network("vgg", digits, 0.25)
    assert parents[0].state["features.0.weight"].shape == (4, 1, 3, 3)


@pytest.mark.parametrize("width", [0.0, -1.0, 9.0, float("nan")])
def test_impossible_widths(width: float) -> None:
    with pytest.raises(ParentError, match=r"\(0, 8\]"):
        network("mlp", images(1, 8, 8), width)


@pytest.mark.parametrize("name", ["vgg", "resnet20", "vit"])
def test_samples_that_are_no_images(name: str) -> None:
    with pytest.raises(DataError, match="4 x 4"):
        network(name, images(9))
    with pytest.raises(DataError, match="4 x 4"):
        network(name, images(1, 3, 8))
