"""Networks written by one command and read by the next are the same function."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusion_engine.cli.main import main
from fusion_engine.data import load_data
from fusion_engine.parents import load_parent, save_parent
from tests.architectures.configs import CONFIGS, random_parent
from tests.exported.exported_files import SmallCNN, export


def samples(path: Path, shape: tuple[int, ...], classes: int = 10) -> Path:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, *shape)).astype(np.float32)
    np.savez(path, x=x, y=np.arange(80) % classes)
    return path


def check_fuse_then_evaluate(folder: Path, parents: list[Path], data: Path, *more: str) -> None:
    out, said, measured = folder / "fused.safetensors", folder / "report.json", folder / "again.json"
    inputs = ["--calibration", str(data), "--test", str(data), "--recipe", "kf_linear"]
    outputs = ["--out", str(out), "--report", str(said)]
    assert main(["fuse", *map(str, parents), *inputs, *outputs, *more]) == 0
    assert main(["evaluate", str(out), "--test", str(data), "--report", str(measured)]) == 0
    (again,) = json.loads(measured.read_text())["models"]
    fused = json.loads(said.read_text())["fused"]
    assert again["accuracy"] == fused["accuracy"]
    assert again["loss"] == pytest.approx(fused["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["mlp_tanh", "vgg_oblong", "resnet_groups", "vit_heads", "vit_post", "vit_mean"])
@pytest.mark.parametrize("width", [None, 0.5])
def test_what_fuse_writes_evaluate_reads(name: str, width: float | None, tmp_path: Path) -> None:
    config = CONFIGS[name]
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, path in enumerate(paths):
        save_parent(path, random_parent(path.stem, config, seed))
    more = [] if width is None else ["--set", f"width={width}"]
    check_fuse_then_evaluate(tmp_path, paths, samples(tmp_path / "d.npz", config.input_shape), *more)


def test_programs(tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        paths.append(export(tmp_path / f"{seed}.pt2", SmallCNN().eval()))
    check_fuse_then_evaluate(tmp_path, paths, samples(tmp_path / "d.npz", (1, 8, 8)))


def test_a_trained_vit_is_fused_and_evaluated(tmp_path: Path) -> None:
    train = ["train", "--arch", "vit", "--data", "digits:train", "--epochs", "1", "--parents", "2"]
    assert main([*train, "--out", str(tmp_path / "parents")]) == 0
    paths = [tmp_path / "parents" / f"parent_{p}.safetensors" for p in (0, 1)]
    digits = load_data("digits")
    data = tmp_path / "d.npz"
    np.savez(data, x=digits.x[:200].numpy(), y=digits.y[:200].numpy(), mean=digits.mean, std=digits.std)
    assert load_parent(paths[0]).architecture.heads == 4
    check_fuse_then_evaluate(tmp_path, paths, data)


def test_commands_say_what_was_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, path in enumerate(paths):
        save_file(dict(random_parent("p", CONFIGS["mlp"], seed).state), path)
    data, line = str(samples(tmp_path / "d.npz", (64,))), "activation relu assumed; the file does not say"
    assert main(["evaluate", *map(str, paths), "--test", data]) == 0
    out, err = capsys.readouterr()
    assert (out.count(line), err.count(line)) == (0, 1)
    assert main(["inspect", *map(str, paths)]) == 0
    assert capsys.readouterr().out.count(line) == 1
    assert main(["fuse", *map(str, paths), "--calibration", data, "--recipe", "average"]) == 0
    assert capsys.readouterr().out.count(line) == 1
    assert main(["evaluate", str(paths[0]), "--test", data, "--arch", "mlp:activation=relu"]) == 0
    assert line not in "".join(capsys.readouterr())
