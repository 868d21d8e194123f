from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_engine.cli.main import main
from fusion_engine.data import load_data
from fusion_engine.parents import load_parents
from fusion_engine.pipeline import fuse


def arguments(files: Path, *more: str) -> list[str]:
    parents = [str(files / "a.safetensors"), str(files / "b.safetensors")]
    return ["analyse", *parents, "--data", str(files / "test.npz"), *more]


@pytest.fixture(scope="module")
def run(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "fusion"
    parents = load_parents([files / "a.safetensors", files / "b.safetensors"])
    fuse(parents, load_data(files / "calib.npz"), "kf_linear").save(folder)
    return folder


def test_a_run_gets_all_analyses(files: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert main(arguments(files, "--run", str(run), "--samples", "100", "--report", str(report))) == 0
    found = json.loads(report.read_text())
    assert found["what"] == ["coverage", "similarity", "connectivity", "budget"]
    assert found["samples"] == 100
    assert found["budget"]["fused"]["accuracy"] == found["coverage"]["fused"]["accuracy"]
    out = capsys.readouterr().out
    for heading in ("class coverage", "similarity of features", "linear mode connectivity", "error budget"):
        assert heading in out
    assert f"{found['budget']['ensemble']['accuracy']:.1%}" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json"]


def test_weights_alone_have_no_budget(files: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(files, "--fused", str(run / "fused.safetensors"), "--what", "coverage,similarity")) == 0
    out = capsys.readouterr().out
    assert "fused" in out
    assert "linear mode connectivity" not in out


def test_one_parent_is_covered(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(files / "a.safetensors"), "--data", str(files / "test.npz")]) == 0
    assert "class coverage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--what", "budget"), "folder of a fusion's run"),
        (("--what", "similarty"), "did you mean 'similarity'"),
        (("--what", ","), "no analysis was chosen"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--align", "kmeans", "--what", "connectivity"), "does not pair neurons"),
        (("--run", "nowhere"), "nowhere: there is no such folder"),
        (("--fused", "nothing.safetensors"), "nothing.safetensors: there is no such file"),
        (("--fused", "x", "--run", "y"), "not allowed with"),
    ],
)
def test_errors_take_one_line(
    files: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments(files, *more))
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_run_with_damaged_groupings(files: Path, run: Path, tmp_path: Path, capsys) -> None:
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "groupings.npz").write_bytes(b"no archive")
    assert main(arguments(files, "--run", str(tmp_path))) == 2
    assert "groupings.npz" in capsys.readouterr().err
