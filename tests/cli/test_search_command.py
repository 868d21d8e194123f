"""search: the best recipe by YAML, --set and Python gives the same weights; a search goes on where it stopped."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fusion_engine.cli.main import main


def call(files: Path, *more: str) -> int:
    given = [str(files / name) for name in ("a.safetensors", "b.safetensors")]
    data = ["--data", str(files / "calib.npz"), "--test", str(files / "test.npz")]
    recipe = ["--recipe", "kf_linear", "--set", "importance=uniform", "--tune", "solver.ridge"]
    return main(["search", *given, *data, *recipe, "--tune", "grouping.tries=1,2", *more])


def test_the_best_recipe_fuses_to_the_same_weights(files: Path, tmp_path: Path, capsys) -> None:
    out, report = tmp_path / "search", tmp_path / "report.json"
    assert call(files, "--trials", "2", "--out", str(out)) == 0
    assert call(files, "--trials", "4", "--out", str(out)) == 2
    assert "resume it" in capsys.readouterr().err
    assert call(files, "--trials", "4", "--out", str(out), "--resume", "--report", str(report)) == 0
    shown = capsys.readouterr()
    assert "trial 1:" not in shown.err  # finished trials are not done again
    assert "trial 4:" in shown.err
    assert "note: " in shown.out
    found = json.loads(report.read_text())
    assert len(found["trials"]) == 4
    best = found["trials"][found["best"]]["settings"]
    sets = [f"--set={path}={value}" for path, value in best.items()]
    fused = []
    for number, recipe in enumerate((["--recipe", str(out / "best.yaml")],
                                     ["--recipe", "kf_linear", "--set", "importance=uniform", *sets])):
        target = tmp_path / f"fused-{number}.safetensors"
        assert main([
            "fuse", str(files / "a.safetensors"), str(files / "b.safetensors"), "--calibration",
            str(files / "calib.npz"), *recipe, "--out", str(target),
        ]) == 0  # fmt: skip
        fused.append(load_file(target))
    assert all(np.array_equal(fused[0][name], fused[1][name]) for name in fused[0])


def test_the_command_that_is_printed_has_all_that_was_given(capsys) -> None:
    from fusion_engine.cli.search.command import _fuse_command, add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = ["--arch", "mlp", "--weights", "ema", "--task", "regression", "--base", "b 1.pt", "--device", "cuda"]
    arguments = parser.parse_args(["a.pt", "c.pt", "--data", "d.npz", "--recipe", "average", *given])
    assert _fuse_command(arguments, Path("best.yaml")) == (
        "python -m fusion_engine fuse a.pt c.pt --calibration d.npz --arch mlp --weights ema --task regression "
        "--base 'b 1.pt' --device cuda --recipe best.yaml --seed 0 --out fused.safetensors"
    )


@pytest.mark.parametrize(("more", "line"), [
    (["--resume"], "--out"),
    (["--held-out", "1.5"], "a share between 0 and 1"),
    (["--held-out", "nowhere.npz"], "there is no such file"),
    (["--tune", "solver.ridge=a:b"], "two numbers"),
    (["--trials", "0"], "trials must be"),
])  # fmt: skip
def test_bad_input_is_one_line(files: Path, more: list[str], line: str, capsys) -> None:
    assert call(files, *more) == 2
    shown = capsys.readouterr().err
    assert line in shown
    assert shown.count("\n") == 1
