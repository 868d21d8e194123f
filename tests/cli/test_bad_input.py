"""What people give by mistake, or on purpose: exit status 2, one clear line, and no outputs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fusion_engine.architectures import MLPConfig, build
from fusion_engine.cli.main import main
from fusion_engine.core.registry import names
from fusion_engine.core.seeds import torch_generator
from fusion_engine.data import load_data
from fusion_engine.parents import load_parent, make_parent, save_parent
from tests.cli.bad_data import BAD_DATA, digits, made, relabelled

ROOT = Path(__file__).resolve().parents[2]

Refused = Callable[..., str]


@pytest.fixture
def outputs(tmp_path: Path) -> list[Path]:
    return [tmp_path / "fused.safetensors", tmp_path / "report.json"]


@pytest.fixture
def refused(files: Path, outputs: list[Path], capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `fuse` on the good files but for what is given, and returns the one line it ends with."""

    def run(
        *more: str, parents: Sequence[Path] | None = None, calibration: Path | None = None, recipe: str = "kf_linear"
    ) -> str:
        status = main(fusing(files, outputs, *more, parents=parents, calibration=calibration, recipe=recipe))
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert_clear(err, outputs)
        return err

    return run


def fusing(
    files: Path,
    outputs: Sequence[Path],
    *more: str,
    parents: Sequence[Path] | None = None,
    calibration: Path | None = None,
    recipe: str = "kf_linear",
) -> list[str]:
    given = [files / "a.safetensors", files / "b.safetensors"] if parents is None else parents
    data = files / "calib.npz" if calibration is None else calibration
    places = ["--out", str(outputs[0]), "--report", str(outputs[1])]
    return ["fuse", *map(str, given), "--calibration", str(data), "--recipe", recipe, *places, *more]


def assert_clear(line: str, outputs: Sequence[Path]) -> None:
    """No traceback, no path of this machine, no mention of a bug; and nothing was written."""
    assert "Traceback" not in line
    assert "unexpected" not in line
    assert str(outputs[0].parent) not in line
    assert "fusion_engine/" not in line
    assert not any(path.exists() for path in outputs)
    assert not list(outputs[0].parent.glob(".*.part"))


# ---- files of parents


def with_tensor(source: Path, target: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    tensors = load_file(source)
    save_file({**tensors, name: change(tensors[name]).contiguous()}, target)
    return target


def poisoned(tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[3] = float("nan")
    return changed


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def hostile_file(folder: Path) -> tuple[Path, Path]:
    """A torch file that makes a marker when it is unpickled, and the marker."""
    path, marker = folder / "evil.pt", folder / "marker"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"fc1.weight": Hostile(marker)}, 2))
        archive.writestr("evil/version", b"3\n")
    return path, marker


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("damage", ["corrupt", "truncated", "empty", "text"])
def test_damaged_parents(files: Path, tmp_path: Path, refused: Refused, suffix: str, damage: str) -> None:
    good = tmp_path / f"good{suffix}"
    if suffix == ".pt":
        torch.save(load_file(files / "a.safetensors"), good)
    else:
        good.write_bytes((files / "a.safetensors").read_bytes())
    whole = good.read_bytes()
    corrupt = bytearray(whole)
    corrupt[:64] = bytes(range(64))
    content = {"corrupt": bytes(corrupt), "truncated": whole[: len(whole) // 2], "empty": b"", "text": b"weights\n"}
    bad = tmp_path / f"bad{suffix}"
    bad.write_bytes(content[damage])
    line = refused(parents=[files / "b.safetensors", bad])
    assert line.startswith(f"bad{suffix}: ")


def test_a_hostile_parent_runs_nothing(files: Path, tmp_path: Path, refused: Refused) -> None:
    evil, marker = hostile_file(tmp_path)
    line = refused(parents=[files / "a.safetensors", evil])
    assert line.startswith("evil.pt: wants to run code (")
    assert "nothing was run" in line
    assert not marker.exists()


def test_parents_that_do_not_match_name_the_layer_and_both_shapes(files: Path, refused: Refused) -> None:
    line = refused(parents=[files / "a.safetensors", files / "foreign.safetensors"])
    for part in ("'fc1.weight'", "(12, 64) in a", "(12, 60) in foreign"):
        assert part in line


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_that_are_not_numbers_name_the_tensor(
    files: Path, tmp_path: Path, refused: Refused, suffix: str
) -> None:
    bad = with_tensor(files / "a.safetensors", tmp_path / "bad.safetensors", "fc2.weight", poisoned)
    if suffix == ".pt":
        tensors, bad = load_file(bad), tmp_path / "bad.pt"
        torch.save(tensors, bad)
    line = refused(parents=[files / "b.safetensors", bad])
    assert f"bad{suffix}: tensor 'fc2.weight' holds NaN" in line


@pytest.mark.parametrize("number", [1, 9])
def test_two_to_eight_parents(files: Path, refused: Refused, number: int) -> None:
    line = refused(parents=[files / "a.safetensors"] * number)
    assert {1: "2 parents or more", 9: "at most 8 parents"}[number] in line


def test_a_missing_parent(files: Path, refused: Refused) -> None:
    assert refused(parents=[files / "a.safetensors", files / "c.pt"]) == "c.pt: there is no such file\n"


# ---- data


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_calibration_data(files: Path, tmp_path: Path, refused: Refused, case: str) -> None:
    change, words = BAD_DATA[case]
    line = refused(calibration=made(tmp_path / "bad.npz", **change(digits(files))))
    assert line.startswith("bad.npz: ")
    assert words in line


def test_damaged_calibration_data(files: Path, tmp_path: Path, refused: Refused) -> None:
    whole = (files / "calib.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"x,y\n"):
        (tmp_path / "bad.npz").write_bytes(content)
        assert refused(calibration=tmp_path / "bad.npz").startswith("bad.npz: ")


@pytest.mark.parametrize("case", ["wrong shape", "too many classes", "no x"])
def test_bad_test_data(files: Path, tmp_path: Path, refused: Refused, case: str) -> None:
    bad = made(tmp_path / "bad.npz", **BAD_DATA[case][0](digits(files)))
    assert refused("--test", str(bad), recipe="average").startswith("bad.npz: ")


def test_test_data_without_labels(files: Path, tmp_path: Path, refused: Refused) -> None:
    bad = made(tmp_path / "bad.npz", x=digits(files)["x"])
    assert "no labels" in refused("--test", str(bad))


@pytest.mark.parametrize("case", ["wrong shape", "too many classes", "no x"])
def test_bad_data_for_evaluate(
    files: Path, tmp_path: Path, outputs: list[Path], capsys: pytest.CaptureFixture[str], case: str
) -> None:
    bad = made(tmp_path / "bad.npz", **BAD_DATA[case][0](digits(files)))
    arguments = ["evaluate", str(files / "a.safetensors"), "--test", str(bad), "--report", str(outputs[1])]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("bad.npz: ")
    assert_clear(err, outputs)


# ---- recipes


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        ("kf_liner", [], "did you mean 'kf_linear'"),
        ("kf_linear", ["groping.tries=2"], "did you mean 'grouping'"),
        ("kf_linear", ["grouping.tires=2"], "did you mean 'tries'"),
        ("kf_linear", ["grouping.tries=many"], "'many' is not of type int"),
        ("kf_linear", ["grouping.tries=0"], "too small"),
        ("kf_linear", ["grouping=kmean"], "did you mean 'kmeans'"),
        ("kf_linear", ["post.0.steps=3"], "not a position"),
        ("kf_linear", ["grouping.tries.more=3"], "one value, the same for all spaces"),
        ("pleas", ["grouping.ratio.fc1=many"], "grouping.ratio.fc1: 'many' is not of type float"),
        ("kf_linear", ["grouping=[1, 2]"], "give a method's name"),
        ("kf_linear", ["solver.head_weights=class_share"], "class counts"),
    ],
)
def test_bad_recipes(refused: Refused, recipe: str, settings: list[str], words: str) -> None:
    assert words in refused(*(part for s in settings for part in ("--set", s)), recipe=recipe)


def test_a_grouping_of_pairs_refuses_three_parents(files: Path, refused: Refused) -> None:
    three = [files / name for name in ("a.safetensors", "b.safetensors", "a.safetensors")]
    line = refused("--set", "grouping=hungarian", parents=three)
    assert "at most 2 parents" in line
    assert "kmeans" in line


# ---- odd, but fine


def assert_same_function(fused: Path, parent: Path, files: Path) -> None:
    x = load_data(files / "calib.npz").normalised()
    torch.testing.assert_close(load_parent(fused).model(x), load_parent(parent).model(x), atol=1e-4, rtol=1e-4)


def report_of(
    files: Path, outputs: Sequence[Path], capsys: pytest.CaptureFixture[str], *more: str, **given: Any
) -> dict[str, Any]:
    status = main(fusing(files, outputs, *more, **given))
    assert (status, capsys.readouterr().err) == (0, "")
    assert outputs[0].is_file()
    return dict(json.loads(outputs[1].read_text()))


def test_identical_parents_are_fused_with_a_warning(
    files: Path, outputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(files, outputs, capsys, parents=[files / "a.safetensors"] * 2)
    assert "a and a (2) are identical" in report["warnings"]
    assert_same_function(outputs[0], files / "a.safetensors", files)


def test_calibration_data_without_labels_is_enough(
    files: Path, tmp_path: Path, outputs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = made(tmp_path / "calib.npz", x=digits(files)["x"])
    report = report_of(files, outputs, capsys, calibration=unlabelled)
    assert report["calibration"]["labels"] is False
    assert any("no labels" in line for line in report["warnings"])


@pytest.mark.parametrize("grouping", names("grouping"))
def test_a_space_of_one_neuron(
    files: Path, tmp_path: Path, outputs: list[Path], capsys: pytest.CaptureFixture[str], grouping: str
) -> None:
    config = MLPConfig((64, 1, 10))
    narrow = []
    for name in ("one", "other"):
        generator = torch_generator(0, name)
        state = {k: torch.randn(t.shape, generator=generator) for k, t in build(config).state_dict().items()}
        narrow.append(tmp_path / f"{name}.safetensors")
        save_parent(narrow[-1], make_parent(name, config, state))
    report_of(files, outputs, capsys, "--set", f"grouping={grouping}", parents=narrow)
    fused = load_file(outputs[0])
    assert fused["fc1.weight"].shape == (1, 64)
    assert all(torch.isfinite(tensor).all() for tensor in fused.values())
    report_of(files, outputs, capsys, "--set", f"grouping={grouping}", parents=[narrow[0]] * 2)
    assert_same_function(outputs[0], narrow[0], files)


# ---- as a program


def test_a_process_of_its_own_says_the_same_one_line(files: Path, tmp_path: Path, outputs: list[Path]) -> None:
    """With everything loaded by then, no library adds lines of its own."""
    wrong = made(tmp_path / "wrong.npz", **relabelled(digits(files), 12))
    command = [sys.executable, "-m", "fusion_engine", *fusing(files, outputs, calibration=wrong)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wrong.npz: the labels go up to 12, but the parents know 10 classes\n"
    assert_clear(done.stderr, outputs)
