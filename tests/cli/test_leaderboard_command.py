from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_engine.cli.main import main
from fusion_engine.store.files import read_lines


def command(files: Path, *more: str) -> list[str]:
    parents = [str(files / "a.safetensors"), str(files / "b.safetensors")]
    data = ["--calibration", str(files / "calib.npz"), "--test", str(files / "test.npz")]
    return ["leaderboard", *parents, *data, *more]


QUICK = ("--presets", "kf_linear,average", "--seeds", "0,1")


def test_table_report_and_resume(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "board", tmp_path / "report.json"
    assert main(command(files, *QUICK, "--out", str(out), "--report", str(report))) == 0
    shown = capsys.readouterr()
    assert "kf_linear" in shown.out
    assert "(softmax ensemble)" in shown.out
    assert "5 of 5 rows" in shown.out
    assert shown.err.count("\n") == 5
    found = json.loads(report.read_text())
    assert {"entries", "references", "parents", "rows", "done", "total", "calibration", "test", "seeds"} <= set(found)
    assert [e["seeds"] for e in found["entries"]] == [[0, 1], [0, 1]]
    assert found["parents"][0]["file"] == "a"

    lines = (out / "rows.jsonl").read_text().splitlines()
    (out / "rows.jsonl").write_text("\n".join(lines[:3]) + "\n" + lines[3][:40])  # killed while writing the fourth
    assert main(command(files, *QUICK, "--out", str(out), "--report", str(report))) == 0
    assert capsys.readouterr().err.count("\n") == 2
    again = json.loads(report.read_text())
    assert [e["accuracy"] for e in again["entries"]] == [e["accuracy"] for e in found["entries"]]
    assert main(command(files, "--presets", "average", "--seeds", "0,2", "--out", str(out))) == 0
    assert capsys.readouterr().err.count("\n") == 1, "only the new seed is run"


def test_workers(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert main(command(files, *QUICK, "--report", str(one))) == 0
    assert main(command(files, *QUICK, "--report", str(two), "--workers", "2")) == 0
    accuracies = [{e["label"]: e["accuracy"] for e in json.loads(p.read_text())["entries"]} for p in (one, two)]
    assert accuracies[0] == accuracies[1]
    assert "5 of 5 rows" in capsys.readouterr().out


def test_what_cannot_run_is_listed_with_the_reason(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = command(files, "--presets", "hf_linear,average")
    three.insert(1, str(files / "a.safetensors"))
    assert main(three) == 0
    out = capsys.readouterr().out
    assert "hf_linear: grouping 'hungarian' takes at most 2 parents" in out


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--presets", "kf_linea"), "no recipe 'kf_linea'; did you mean 'kf_linear'?"),
        (("--presets", ","), "give at least one preset"),
        (("--importances", "conductanse"), "unknown importance"),
        (("--importances", ","), "give at least one importance"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--seeds", "0,x"), "write whole numbers"),
        (("--workers", "0"), "at least 1"),
        (("--base", "nowhere.safetensors"), "no such file"),
    ],
)
def test_errors_take_one_line(
    more: tuple[str, ...], line: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(files, *more)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert line in err


def test_an_interrupted_board_keeps_its_rows(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fusion_engine.leaderboard import run

    run_row, calls = run.run_row, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_row(*arguments, **options)

    monkeypatch.setattr(run, "run_row", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(command(files, *QUICK, "--out", str(tmp_path)))
    assert "the same --out goes on where it stopped" in capsys.readouterr().err
    assert len(read_lines(tmp_path / "rows.jsonl")) == 2


def test_a_folder_of_another_board_is_left_alone(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rows = ("--presets", "average", "--out", str(tmp_path)), tmp_path / "rows.jsonl"
    assert main(command(files, *out)) == 0
    before = rows.read_bytes()
    other = command(files, *out)
    other[1:3] = other[2:0:-1]  # the parents the other way round
    for content in (before, b'{"epoch": 1}\n', b"3\n"):
        rows.write_bytes(content)
        capsys.readouterr()
        assert main(other) == 2
        shown, err = capsys.readouterr()
        assert (shown, err.count("\n")) == ("", 1)
        assert "give another folder" in err
        assert rows.read_bytes() == content
