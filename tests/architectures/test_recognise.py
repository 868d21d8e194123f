"""Recognition of state dicts: config, canonical names, and refusals."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from fusion_engine.architectures import (
    CustomConfig,
    MLPConfig,
    VGGConfig,
    build,
    example_input,
    match,
    names,
    read_config,
    recognise,
)
from fusion_engine.core.errors import UnsupportedModelError

TORCHVISION_LIKE = VGGConfig((3, 64, 64), (8, "M", 12, "M", 16, 16, "M", 20, 20, "M", 20, 20, "M"), (40, 40, 10))
CONFIGS = [
    MLPConfig((784, 256, 10)),
    MLPConfig((20, 20, 20, 20, 5), bias=False),
    MLPConfig((6, 3)),
    TORCHVISION_LIKE,
    VGGConfig((3, 32, 32), (8, "M", 16, 16, "M"), (10,), batch_norm=True, conv_bias=False),
    VGGConfig((1, 8, 8), (8, 8, "M", 12, "M"), (16, 10), batch_norm=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_is_built_is_recognised(config) -> None:
    model = build(config)
    found = match(model.state_dict())
    assert found.config == config
    assert dict(found.key_map) == {name: name for name in model.state_dict()}
    assert not model.training
    with torch.inference_mode():
        assert model(example_input(config, 3)).shape == (3, config.classes)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_configs_round_trip_through_json(config) -> None:
    import json

    values = json.loads(json.dumps({"name": config.name, **config.as_json()}))
    assert read_config(values) == config


@pytest.mark.parametrize("values", [{}, {"name": "mlp"}, {"name": "mlp", "widths": [3, -1], "activation": "relu",
                                    "bias": True}, {"name": "vgg", "input_shape": 3}, {"name": "resnext"}])
def test_wrong_descriptions_are_refused(values) -> None:
    with pytest.raises(UnsupportedModelError):
        read_config(values)


def zeros(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return {key.replace("__", "."): torch.zeros(shape) for key, shape in shapes.items()}


def test_mlp_under_any_prefix() -> None:
    state = zeros(level1__1__weight=(5, 4), level1__1__bias=(5,), level2__0__weight=(3, 5), level2__0__bias=(3,))
    found = match(state)
    assert found.config == MLPConfig((4, 5, 3))
    assert found.key_map["fc1.weight"] == "level1.1.weight"
    assert found.key_map["fc2.bias"] == "level2.0.bias"


def test_mlp_in_alphabetical_order_counts_by_number() -> None:
    config = MLPConfig((8, *[8] * 11, 3))
    state = build(config).state_dict()
    by_alphabet = {key: state[key] for key in sorted(state)}
    assert list(by_alphabet)[2].startswith("fc10")
    found = match(by_alphabet)
    assert found.config == config
    assert all(name == file_name for name, file_name in found.key_map.items())


def test_mlp_names_without_numbers_follow_the_shapes() -> None:
    state = zeros(hidden__weight=(6, 4), inlet__weight=(4, 9), outlet__weight=(2, 6))
    items = list(state.items())
    random.Random(0).shuffle(items)
    found = match(dict(items))
    assert found.config == MLPConfig((9, 4, 6, 2), bias=False)
    assert [found.key_map[f"fc{i}.weight"] for i in (1, 2, 3)] == ["inlet.weight", "hidden.weight", "outlet.weight"]


def test_ambiguous_mlp_is_refused_unless_the_file_orders_it() -> None:
    decoder_first = zeros(decoder__weight=(4, 4), encoder__weight=(4, 4))
    with pytest.raises(UnsupportedModelError, match="--arch"):
        recognise(decoder_first)
    encoder_first = dict(reversed(decoder_first.items()))
    assert match(encoder_first).key_map["fc1.weight"] == "encoder.weight"


def conventional_vgg(classifier: nn.Module, features: str = "features") -> nn.Module:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    )
    return nn.ModuleDict({features: layers, "classifier": classifier})


def test_vgg_of_others_gives_the_same_function() -> None:
    torch.manual_seed(0)
    other = conventional_vgg(
        nn.Sequential(nn.Linear(16 * 16, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 7)), "body"
    ).eval()
    other["body"][1].running_mean += 0.3
    state = other.state_dict()
    found = match(state)
    assert found.config == VGGConfig((3, 16, 16), (8, "M", 16, 16, "M"), (20, 7), batch_norm=True)
    assert found.key_map["classifier.2.weight"] == "classifier.3.weight"
    assert found.key_map["features.1.num_batches_tracked"] == "body.1.num_batches_tracked"
    model = build(found.config)
    model.load_state_dict({name: state[key] for name, key in found.key_map.items()})
    x = example_input(found.config)
    with torch.inference_mode():
        expected = other["classifier"](other["body"](x).flatten(1))
        assert torch.equal(model(x), expected)


def test_vgg_with_a_bare_linear_head() -> None:
    found = match(conventional_vgg(nn.Linear(16, 5)).state_dict())
    assert found.config.input_shape == (3, 4, 4)
    assert found.key_map["classifier.0.weight"] == "classifier.weight"


def test_the_input_shape_settles_the_last_pooling() -> None:
    state = build(VGGConfig((3, 8, 8), (4, "M", 6), (5,))).state_dict()
    assert recognise(state).features == (4, "M", 6, "M")
    assert recognise(state, input_shape=(3, 8, 8)).features == (4, "M", 6)
    assert recognise(state, input_shape=(3, 16, 16)).features == (4, "M", 6, "M")
    # A shape that fits neither is the data's fault: the config says what the network takes.
    assert recognise(state, input_shape=(3, 64, 64)).input_shape == (3, 16, 16)
    assert recognise(state, input_shape=(1, 8, 8)).input_shape == (3, 16, 16)


def test_unrecognised_state_names_what_was_tried() -> None:
    resnet = {"conv1.weight": torch.zeros(8, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3)}
    with pytest.raises(UnsupportedModelError, match=r"tried mlp, .*vit.*conv1.weight.*--arch") as caught:
        recognise(resnet)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnsupportedModelError):
        recognise({})
    mlp = build(MLPConfig((4, 3, 2))).state_dict()
    with pytest.raises(UnsupportedModelError, match="tried vgg"):
        recognise(mlp, "vgg")
    with pytest.raises(UnsupportedModelError, match="did you mean 'vgg'"):
        recognise(mlp, "vg")
    with pytest.raises(UnsupportedModelError):
        recognise({**mlp, "norm.weight": torch.zeros(3)})
    vgg = build(TORCHVISION_LIKE).state_dict()
    del vgg["classifier.0.bias"]
    with pytest.raises(UnsupportedModelError):
        recognise(vgg)
    assert names() == ["mlp", "resnet", "vgg", "vit"]


MODULE = """
import torch
from torch import nn
def make():
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
def broken():
    raise RuntimeError("no weights today")
def number():
    return 7
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "user_networks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "user_networks"


def test_custom_architecture(user_module: str) -> None:
    spec = f"{user_module}:make"
    shapes = {"0.weight": (4, 6), "0.bias": (4,), "2.weight": (3, 4), "2.bias": (3,)}
    state = {name: torch.ones(shape) for name, shape in shapes.items()}
    found = match(state, spec, (6,))
    assert found.config == CustomConfig(spec, (6,), 3)
    assert build(found.config)(example_input(found.config)).shape == (2, 3)
    with pytest.raises(UnsupportedModelError, match="lacks"):
        match({**state, "9.bias": torch.ones(1)}, spec, (6,))
    with pytest.raises(UnsupportedModelError, match=r"\(4, 7\) in the file"):
        match({**state, "0.weight": torch.ones(4, 7)}, spec, (6,))


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("no_such_module:make", (6,), "cannot import"),
        ("user_networks:mke", (6,), "did you mean 'make'"),
        ("user_networks:broken", (6,), "no weights today"),
        ("user_networks:number", (6,), "not an nn.Module"),
        ("user_networks:make", (5,), "does not take inputs"),
        ("user_networks:make", None, "--input-shape"),
    ],
)
def test_custom_architecture_errors(user_module: str, spec: str, shape, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        match({}, spec, shape)
    assert "\n" not in str(caught.value)


def test_user_code_is_imported_only_on_request(user_module: str) -> None:
    import sys

    sys.modules.pop(user_module, None)
    with pytest.raises(UnsupportedModelError):
        match({"user_networks.weight": torch.zeros(3, 3, 3)})
    with pytest.raises(UnsupportedModelError):
        read_config({"name": f"{user_module}:make"})
    assert user_module not in sys.modules


def test_the_size_of_a_vggs_images_is_said_to_be_assumed() -> None:
    plain = VGGConfig((3, 8, 8), (4, "M", 6, "M"), (5,))
    state = build(plain).state_dict()
    assert "images of 3 x 8 x 8 assumed" in match(state).assumed["input_shape"]
    assert "input_shape" not in match(state, input_shape=(3, 8, 8)).assumed
    strided = build(VGGConfig((3, 16, 16), (4, 6), (5,), halved=(True, True))).state_dict()
    assert match(strided, input_shape=(3, 16, 16)).config.input_shape == (3, 16, 16)
    found = match(strided)
    assert found.config.input_shape != (3, 16, 16)
    assert "give --input-shape, or data, if not" in found.assumed["input_shape"]
