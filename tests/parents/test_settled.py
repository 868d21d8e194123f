"""What files do not say of a network is settled by labelled samples, or said, or refused: never guessed in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import fuse, load_data
from fusion_engine.architectures import VGGConfig, ViTConfig, build
from fusion_engine.cli.main import main
from fusion_engine.core.errors import ParentError
from fusion_engine.data import Dataset, save_npz
from fusion_engine.leaderboard.plan import Inputs
from fusion_engine.parents import Parent, load_parent, load_parents, settled

Make = Callable[[], nn.Module]


def perceptron(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), activation, nn.Linear(32, 10))


def convolutional(*layers: nn.Module, inputs: int = 64) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs, 10))


def conv(inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, stride, padding)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    train = load_data("digits:train")
    return train, train.subset(list(range(300)))


def trained(make: Make, data: Dataset, seed: int, epochs: int = 8, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    model = make()
    x, y = torch.cat([x for x, _ in data.batches(4096)]), data.y
    assert y is not None
    x, y = x[y < classes], y[y < classes]
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimiser.step()
    return model.eval()


def written(make: Make, data: Dataset, folder: Path, **how: int) -> tuple[list[nn.Module], list[Parent]]:
    """Two trained networks, and the parents that their bare state dicts are read as."""
    models = [trained(make, data, seed, **how) for seed in (0, 1)]
    paths = [folder / f"p{i}.pt" for i in (0, 1)]
    for path, model in zip(paths, models, strict=True):
        torch.save(model.state_dict(), path)
    return models, load_parents(paths, input_shape=data.input_shape)


def difference(parent: Parent, model: nn.Module, data: Dataset) -> float:
    x: Tensor = torch.cat([x for x, _ in data.batches(4096)])
    with torch.inference_mode():
        expected = model(x)
        return float((parent.model(x) - expected).norm() / expected.norm())


NETWORKS: dict[str, Make] = {
    "average pooling": lambda: convolutional(
        conv(1, 8), nn.ReLU(), nn.AvgPool2d(2), conv(8, 16), nn.ReLU(), nn.AvgPool2d(2)
    ),
    "strides": lambda: convolutional(conv(1, 8, 2), nn.ReLU(), conv(8, 16, 2), nn.ReLU()),
    "strides and dropout": lambda: convolutional(
        conv(1, 8, 2), nn.ReLU(), nn.Dropout(0.1), conv(8, 16, 2), nn.ReLU(), nn.Dropout(0.1)
    ),
    "tanh": lambda: convolutional(conv(1, 8), nn.Tanh(), nn.AvgPool2d(2), conv(8, 16), nn.Tanh(), nn.AvgPool2d(2)),
    "no padding": lambda: convolutional(
        conv(1, 8, padding=0), nn.ReLU(), nn.MaxPool2d(2), conv(8, 16, padding=0), nn.ReLU(), inputs=16
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_weights_do_not_tell_is_found_by_labelled_samples(name: str, digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(NETWORKS[name], train, tmp_path)
    assert all(parent.metadata.assumed for parent in parents)
    assert difference(parents[0], models[0], train) > 0.1, "what is assumed is another network"
    read, lines = settled(parents, calibration)
    assert max(difference(p, m, train) for p, m in zip(read, models, strict=True)) < 1e-5
    assert len(lines) == 1
    assert "the file does not say" in lines[0]
    assert "give --arch vgg:" in lines[0]


def test_what_is_assumed_and_right_stays(digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(lambda: perceptron(nn.ReLU()), train, tmp_path)
    read, lines = settled(parents, calibration)
    assert [p.architecture for p in read] == [p.architecture for p in parents]
    assert lines[0].startswith("256 labelled samples agree with what was assumed")
    assert all(not p.metadata.assumed for p in read)
    assert difference(read[0], models[0], train) < 1e-6


def test_where_samples_do_not_tell_two_readings_apart_the_switch_is_named(digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(lambda: perceptron(nn.Tanh()), train, tmp_path, epochs=15)
    with pytest.raises(ParentError, match="do not tell") as caught:
        settled(parents, calibration)
    assert "--arch mlp:activation=" in str(caught.value)
    assert "\n" not in str(caught.value)
    told = load_parent(tmp_path / "p0.pt", "mlp:activation=tanh")
    assert difference(told, models[0], train) < 1e-6
    assert settled([told], calibration) == ([told], [])


def test_the_switch_that_a_line_names_gives_that_network(digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(NETWORKS["strides"], train, tmp_path)
    read, _ = settled(parents, calibration)
    config = read[0].architecture
    assert isinstance(config, VGGConfig)
    spec = f"vgg:pooling=stride,padded=true,halved={'-'.join(str(int(h)) for h in config.halved) or 'none'}"
    told = load_parent(tmp_path / "p0.pt", spec, input_shape=(1, 8, 8))
    assert told.architecture == config
    assert difference(told, models[0], train) < 1e-5


@pytest.mark.parametrize("norm_first", [True, False])
def test_heads_and_order_of_norms(norm_first: bool, digits, tmp_path: Path) -> None:
    train, calibration = digits
    config = ViTConfig((1, 8, 8), 4, 16, 4, (32,), (16,), 10, norm_first=norm_first)
    models, parents = written(lambda: build(config).train(), train, tmp_path, epochs=6)
    assert difference(parents[0], models[0], train) > 1e-2
    read, lines = settled(parents, calibration)
    assert "do not tell" in lines[0] or difference(read[0], models[0], train) < 1e-4


def test_parents_that_know_half_of_the_classes(digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(NETWORKS["average pooling"], train, tmp_path, classes=5)
    read, _ = settled(parents, calibration)
    assert difference(read[0], models[0], train) < 1e-5


def test_random_weights_and_samples_without_labels_settle_nothing(digits, tmp_path: Path) -> None:
    train, calibration = digits
    _, parents = written(NETWORKS["average pooling"], train, tmp_path, epochs=0)
    read, lines = settled(parents, calibration)
    assert [p.metadata.assumed for p in read] == [p.metadata.assumed for p in parents]
    assert "do not settle" in lines[0]
    assert settled(parents, replace(calibration, y=None, classes=10)) == (parents, [])


def test_a_fusion_says_it_and_its_file_is_that_network(digits, tmp_path: Path) -> None:
    train, calibration = digits
    _, parents = written(NETWORKS["average pooling"], train, tmp_path)
    result = fuse(parents, calibration, "kf_linear")
    assert any("average pooling" in line for line in result.report["warnings"])
    result.save(tmp_path / "out")
    again = load_parent(tmp_path / "out" / "fused.safetensors")
    assert isinstance(again.architecture, VGGConfig)
    assert again.architecture.pooling == "avg"
    assert difference(again, result.model, train) < 1e-6


def test_references_of_a_leaderboard_are_of_the_networks_that_are_fused(digits, tmp_path: Path) -> None:
    train, calibration = digits
    models, parents = written(NETWORKS["average pooling"], train, tmp_path)
    inputs = Inputs(parents, calibration, train)
    assert max(difference(p, m, train) for p, m in zip(inputs.parents, models, strict=True)) < 1e-5


def test_a_fused_folder_is_analysed_beside_its_parents(digits, tmp_path: Path) -> None:
    train, calibration = digits
    _, parents = written(NETWORKS["average pooling"], train, tmp_path)
    fuse(parents, calibration, "average").save(tmp_path / "out")
    save_npz(tmp_path / "samples.npz", calibration)
    files = [str(tmp_path / f"p{i}.pt") for i in (0, 1)]
    options = ["--data", str(tmp_path / "samples.npz"), "--run", str(tmp_path / "out"), "--what", "coverage"]
    assert main(["analyse", *files, *options]) == 0
