"""`inspect --neurons`: a selection of neurons as a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fusion_engine.cli.main import main


def run(files: Path, *more: str) -> int:
    return main(["inspect", str(files / "a.safetensors"), str(files / "b.safetensors"), *more])


def test_neurons_as_text_csv_and_json(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--neurons", "fc1/a:3, 1:0-1", "--calibration", str(files / "calib.npz"), "--samples", "50"]
    assert run(files, *wanted) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["neuron", "importance", "group"]
    assert [line.split()[0] for line in lines if line.startswith("fc1/")] == ["fc1/a:3", "fc1/b:0", "fc1/b:1"]
    assert run(files, *wanted, "--out", str(tmp_path / "n.json")) == 0
    assert run(files, *wanted, "--out", str(tmp_path / "n.csv")) == 0
    rows = json.loads((tmp_path / "n.json").read_text())
    with (tmp_path / "n.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["neuron"] for row in rows] == [row["neuron"] for row in written] == ["fc1/a:3", "fc1/b:0", "fc1/b:1"]
    first = rows[0]
    assert written[0]["mates"].split() == first["mates"]
    assert float(written[0]["importance"]) == first["importance"] > 0
    assert first["std"] > 0
    assert "fc1/a:3" not in first["neighbours"] + first["mates"]
    assert first["correlation"] == sorted(first["correlation"], reverse=True)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--neurons", "fc1/a:1"], "give them with --calibration"),
        (["--neurons", "a:1", "--calibration", "{calib}"], "say of which space, for example fc1/a:1"),
        (["--neurons", "fc9/a:1", "--calibration", "{calib}"], "there is no space 'fc9'"),
        (["--neurons", "fc1/a:12", "--calibration", "{calib}"], "a has neurons 0 to 11"),
        (["--neurons", "fc1/a:1", "--calibration", "{calib}", "--out", "x.txt"], "written as .csv or .json"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    more: list[str], line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, *(part.format(calib=files / "calib.npz") for part in more)) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert line in error
    assert error.count("\n") == 1
