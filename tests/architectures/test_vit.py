"""Vision transformers: recognised under any names; what weights do not tell is a documented guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rebuilding import rebuilt
from torch import nn
from vits_of_others import TimmViT, TorchEncoderViT, TorchvisionViT

from fusion_engine.architectures import ViTConfig, build, example_input, match, read_config, recognise
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.parents import load_parent, make_parent, save_parent

PRE = ViTConfig((3, 16, 16), 4, 32, 1, (24, 20), (32, 32), 10)
CONFIGS = [
    PRE,
    replace(PRE, norm_first=False, final_norm=False),
    replace(PRE, class_token=False, pool="mean", embedding="linear"),
    replace(PRE, attention="qkv", qkv_bias=False, class_position=False),
    replace(PRE, width=64, inner=(64, 64)),
    replace(PRE, width=128, heads=2, inner=(128, 128), attention="qkv", input_shape=(1, 16, 16)),
    replace(PRE, attention="qkv", width=30, inner=(48, 32), heads=1),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_built_is_recognised(config: ViTConfig) -> None:
    model = build(config)
    found = match(model.state_dict())
    assert found.config == config
    assert dict(found.key_map) == {name: name for name in model.state_dict()}
    assert "heads" in found.assumed["heads"] or "head is" in found.assumed["heads"]
    assert read_config(json.loads(json.dumps({"name": "vit", **config.as_json()}))) == config
    with torch.inference_mode():
        assert model(example_input(config, 3)).shape == (3, config.classes)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "timm": TimmViT,
    "timm, mean pooling, no bias": lambda: TimmViT(token=False, bias=False, width=32),
    "timm, class token without position": lambda: TimmViT(no_embed_class=True, width=128),
    "torchvision": TorchvisionViT,
    "torch.nn.TransformerEncoder, post-norm": TorchEncoderViT,
    "prefix module.": lambda: nn.ModuleDict({"module": TimmViT()}),
    "prefix model.": lambda: nn.ModuleDict({"model": TorchvisionViT()}),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("alphabetical", [False, True])
def test_networks_of_others_give_the_same_function(name: str, alphabetical: bool) -> None:
    torch.manual_seed(0)
    network, model, config = rebuilt(OTHERS[name](), "vit", alphabetical)
    x = example_input(config)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (96, 3), (48, 3), (40, 5), (12, 1)])
def test_the_usual_number_of_heads(width: int, heads: int) -> None:
    config = replace(PRE, width=width, inner=(width, width))
    found = match(build(config).state_dict())
    assert found.config == replace(config, heads=heads)
    assert found.assumed["heads"].startswith("the weights do not tell")
    assert str(heads) in found.assumed["heads"]


def test_another_number_of_heads_is_another_function() -> None:
    one, two = build(PRE), build(replace(PRE, heads=2))
    two.load_state_dict(one.state_dict())
    x = example_input(PRE)
    with torch.inference_mode():
        assert not torch.allclose(one(x), two(x))


def test_a_file_of_our_own_says_what_weights_do_not_tell(tmp_path: Path) -> None:
    config = replace(PRE, heads=4, norm_first=False, pool="mean", epsilon=1e-5)
    assert recognise(build(config).state_dict()) == PRE
    path = tmp_path / "vit.safetensors"
    save_parent(path, make_parent("vit", config, build(config).state_dict()))
    assert load_parent(path).architecture == config


def test_the_input_shape_settles_images_that_are_not_square() -> None:
    wide = replace(PRE, input_shape=(3, 8, 24))
    state = build(wide).state_dict()
    assert recognise(state, input_shape=(3, 8, 24)) == wide
    with pytest.raises(UnsupportedModelError, match="not recognised"):
        recognise(state)  # 12 patches are no square
    square = build(PRE).state_dict()
    assert recognise(square, input_shape=(3, 8, 32)).input_shape == (3, 8, 32)
    assert recognise(square, input_shape=(3, 32, 32)) == PRE
    assert recognise(square, input_shape=(1, 16, 16)) == PRE


def test_linear_patches_do_not_tell_channels_from_pixels() -> None:
    twelve = replace(PRE, input_shape=(12, 8, 8), patch=2, embedding="linear")
    state = build(twelve).state_dict()
    assert recognise(state, input_shape=(12, 8, 8)) == twelve
    assert recognise(state) == replace(twelve, input_shape=(3, 16, 16), patch=4)


@pytest.mark.parametrize(
    "change",
    [
        {"pos_embed": (1, 19, 32)},
        {"pos_embed": (17, 32)},
        {"pos_embed": None},
        {"cls_token": (1, 2, 32)},
        {"head.weight": (10, 31)},
        {"head.bias": None},
        {"blocks.0.attn.in_proj_weight": (96, 31)},
        {"blocks.0.attn.in_proj_weight": (96,)},
        {"blocks.1.attn.in_proj_weight": ()},
        {"register": (4, 32)},
        {"blocks.0.attn.in_proj_bias": None},
        {"blocks.1.attn.out_proj.weight": (32, 16)},
        {"blocks.1.mlp.fc2.weight": (32, 21)},
        {"blocks.1.norm2.weight": None},
        {"blocks.1.ls1.gamma": (32,)},
        {"patch_embed.proj.weight": (32, 3, 4, 2)},
        {"patch_embed.proj.weight": (32, 0, 4, 4)},
        {"patch_embed.norm.weight": (32,)},
        {"blocks.0.mlp.fc1.weight": (0, 32)},
    ],
    ids=str,
)
def test_what_is_not_consistent_is_refused(change: dict[str, tuple[int, ...] | None]) -> None:
    state = dict(build(PRE).state_dict())
    for name, shape in change.items():
        state.pop(name, None)
        if shape is not None:
            state[name] = torch.zeros(shape)
    with pytest.raises(UnsupportedModelError, match="not recognised"):
        recognise(state)


def test_a_norm_after_the_pooling_is_named() -> None:
    renamed = {key.replace("norm", "fc_norm") if key.startswith("norm.") else key: tensor
               for key, tensor in build(PRE).state_dict().items()}
    with pytest.raises(UnsupportedModelError, match=r"'fc_norm' follows the pooling.*--arch"):
        recognise(renamed)


@pytest.mark.parametrize(
    "changed",
    [{"heads": 5}, {"patch": 5}, {"hidden": []}, {"inner": [32]}, {"inner": [16, 16]}, {"attention": "linear"},
     {"pool": "max"}, {"class_token": False}, {"epsilon": 0}, {"embedding": "fourier"}, {"patch": 0}, {"width": "x"}],
    ids=str,
)
def test_wrong_descriptions_are_refused(changed: dict) -> None:
    with pytest.raises(UnsupportedModelError):
        read_config({"name": "vit", **PRE.as_json(), **changed})
