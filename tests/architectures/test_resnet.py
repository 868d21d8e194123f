"""Residual networks: recognised under any names, and refused where they are of another kind."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from rebuilding import rebuilt
from resnets_of_others import CifarStyle, ImageNetStyle
from torch import nn

from fusion_engine.architectures import ResNetConfig, build, example_input, match, read_config, recognise
from fusion_engine.core.errors import UnsupportedModelError

IMAGE = (3, 32, 32)
LARGE = (3, 224, 224)
UNEVEN = ResNetConfig(IMAGE, 6, (8, 10), ((5, 7), (9,)), 4)
CONFIGS = [
    ResNetConfig.cifar(20, IMAGE, 10, width=0.25),
    ResNetConfig.cifar(32, IMAGE, 10, width=0.125, norm="none"),
    ResNetConfig.cifar(8, IMAGE, 10, norm="group"),
    ResNetConfig.imagenet(18, LARGE, 10, width=0.0625),
    ResNetConfig.imagenet(34, LARGE, 6, width=0.0625, norm="group"),
    UNEVEN,
    ResNetConfig((1, 32, 32), 4, (4,), ((4,),), 3, norm="none", conv_bias=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_built_is_recognised(config: ResNetConfig) -> None:
    model = build(config)
    found = match(model.state_dict())
    assert found.config == config
    assert dict(found.key_map) == {name: name for name in model.state_dict()}
    assert ("groups" in found.assumed) == (config.norm == "group")
    assert "stem_stride" in found.assumed
    assert read_config(json.loads(json.dumps({"name": "resnet", **config.as_json()}))) == config


def test_published_sizes() -> None:
    def parameters(config: ResNetConfig) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in build(config).parameters())

    assert ResNetConfig.cifar(44, IMAGE, 10).depth == 44
    assert ResNetConfig.imagenet(34, LARGE, 1000).depth == 34
    assert parameters(ResNetConfig.imagenet(18, LARGE, 1000)) == 11_689_512  # as published by torchvision
    assert parameters(ResNetConfig.imagenet(34, LARGE, 1000)) == 21_797_672
    assert ResNetConfig.imagenet(18, LARGE, 1000, norm="group").groups == 32
    for wrong in (lambda: ResNetConfig.cifar(18, IMAGE, 10), lambda: ResNetConfig.imagenet(50, LARGE, 10)):
        with pytest.raises(ValueError, match="layers"):
            wrong()


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "shortcut and linear": CifarStyle,
    "no blocks but one a stage": lambda: CifarStyle(blocks=1, widths=(8, 12, 16)),
    "group norm named gn": lambda: CifarStyle(lambda width: nn.GroupNorm(2, width), "gn", (4, 8, 12)),
    "layer norm over channels named norm": lambda: CifarStyle(lambda width: nn.GroupNorm(1, width), "norm", (3, 5, 7)),
    "blocks in one list, stem in a Sequential": ImageNetStyle,
    "prefix module.": lambda: nn.ModuleDict({"module": CifarStyle()}),
    "prefix model.": lambda: nn.ModuleDict({"model": ImageNetStyle()}),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("alphabetical", [False, True])
def test_networks_of_others_give_the_same_function(name: str, alphabetical: bool) -> None:
    torch.manual_seed(0)
    network, model, config = rebuilt(OTHERS[name](), "resnet", alphabetical)
    x = example_input(config)[:, :, :48, :48]
    with torch.inference_mode():
        torch.testing.assert_close(model(x), network(x))


def test_a_projection_starts_a_stage_even_where_the_width_stays() -> None:
    config = recognise(CifarStyle(widths=(8, 8, 12)).state_dict())
    assert isinstance(config, ResNetConfig)
    assert config.widths == (8, 8, 12)
    assert [len(stage) for stage in config.inner] == [2, 2, 2]


def test_files_from_before_the_counter_of_batch_norm() -> None:
    state = build(UNEVEN).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    found = match(old)
    assert found.config == UNEVEN
    assert set(found.key_map) == set(old)


def test_the_input_shape_gives_the_size() -> None:
    state = build(UNEVEN).state_dict()
    assert recognise(state, input_shape=(3, 20, 24)).input_shape == (3, 20, 24)
    assert recognise(state, input_shape=(1, 20, 24)).input_shape == IMAGE
    assert recognise(state, input_shape=(300,)).input_shape == IMAGE


def test_bottlenecks_are_named() -> None:
    state = build(UNEVEN).state_dict() | {"layer1.0.conv3.weight": torch.zeros(20, 8, 1, 1)}
    with pytest.raises(UnsupportedModelError, match=r"bottleneck.*layer1\.0\.conv3.*--arch"):
        recognise(state)


def test_a_shortcut_without_projection_is_named() -> None:
    state = {key: t for key, t in build(UNEVEN).state_dict().items() if "layer2.0.downsample" not in key}
    with pytest.raises(UnsupportedModelError, match=r"layer2\.0\.conv2.*no 1 x 1.*--arch"):
        recognise(state)


def test_a_stem_of_several_convolutions_is_no_block() -> None:
    state = build(UNEVEN).state_dict()
    names = {"conv1.weight": "stem.0.weight"}
    deep = {names.get(key, key): tensor for key, tensor in state.items()}
    for i in (3, 6):
        deep |= {f"stem.{i}.weight": torch.zeros(6, 6, 3, 3)}
        deep |= {key.replace("bn1", f"stem.{i + 1}"): t for key, t in state.items() if key.startswith("bn1.")}
    with pytest.raises(UnsupportedModelError, match="not recognised"):
        recognise(deep)


@pytest.mark.parametrize(
    "change",
    [
        {"layer1.0.conv2.weight": (8, 4, 3, 3)},
        {"layer1.0.bn2.weight": (9,)},
        {"layer1.0.bn2.running_mean": None},
        {"layer1.0.bn2.weight": None, "layer1.0.bn2.bias": None},
        {"bn1.weight": None},
        {"fc.bias": None},
        {"fc.weight": (4, 11)},
        {"layer2.0.downsample.0.weight": (10, 9, 1, 1)},
        {"layer1.1.se.weight": (8, 8, 1, 1)},
        {"layer1.1.conv3.weight": (8, 8, 3, 3)},
        {"extra": (3,)},
        {"conv1.weight": (6, 3, 5, 5)},
        {"conv1.weight": (0, 3, 3, 3)},
        {"layer1.0.conv1.weight": (0, 6, 3, 3)},
    ],
    ids=str,
)
def test_what_is_not_consistent_is_refused(change: dict[str, tuple[int, ...] | None]) -> None:
    state = dict(build(UNEVEN).state_dict())
    for name, shape in change.items():
        state.pop(name, None)
        if shape is not None:
            state[name] = torch.zeros(shape)
    with pytest.raises(UnsupportedModelError, match="not recognised") as caught:
        recognise(state)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [{"widths": [8]}, {"inner": [[5], []]}, {"stem": "mnist"}, {"norm": "layer"}, {"norm": "group", "groups": 4},
     {"stem_width": 0}, {"classes": None}, {"input_shape": [3, 32]}],
    ids=str,
)
def test_wrong_descriptions_are_refused(changed: dict) -> None:
    with pytest.raises(UnsupportedModelError):
        read_config({"name": "resnet", **UNEVEN.as_json(), **changed})
