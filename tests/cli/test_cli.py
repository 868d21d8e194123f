from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_engine import store
from fusion_engine.cli.main import main
from fusion_engine.core.registry import names
from fusion_engine.data import load_data
from fusion_engine.evaluation import evaluate
from fusion_engine.parents import load_parent
from fusion_engine.presets import recipes

ROOT = Path(__file__).resolve().parents[2]


def fuse_arguments(files: Path, *more: str) -> list[str]:
    parents = [str(files / "a.safetensors"), str(files / "b.safetensors")]
    return ["fuse", *parents, "--calibration", str(files / "calib.npz"), *more]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_fuse_writes_weights_and_report(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "fused.safetensors", tmp_path / "report.json"
    arguments = fuse_arguments(files, "--test", str(files / "test.npz"), "--recipe", "kf_linear", "--seed", "3")
    changed = ["--set", "grouping.tries=2", "--set", "importance=activation"]
    assert main([*arguments, *changed, "--out", str(out), "--report", str(report)]) == 0
    found = json.loads(report.read_text())
    assert [p["file"] for p in found["parents"]] == ["a.safetensors", "b.safetensors"]
    assert set(found["parents"][0]) >= {"file", "accuracy", "loss"}
    for name in ("ensemble", "softmax_ensemble", "average"):
        assert 0 <= found[name]["accuracy"] <= 1
    stages = {"load", "verify", "importance", "grouping", "solve", "post", "evaluate", "total"}
    assert set(found["seconds"]) >= stages
    assert found["seconds"]["load"] > 0
    assert found["peak_memory_mb"] > 1
    assert found["seed"] == 3
    assert found["recipe"]["grouping"]["tries"] == 2
    assert found["recipe"]["importance"]["method"] == "activation"
    assert [s["name"] for s in found["spaces"]] == ["fc1"]
    assert len(found["levels"]) == 2
    assert found["versions"]["torch"]
    fused = load_parent(out)
    measured = evaluate(fused.model, None, load_data(files / "test.npz"))
    assert found["fused"]["accuracy"] == pytest.approx(measured.accuracy)
    assert found["fused"]["loss"] == pytest.approx(measured.loss, rel=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fused.safetensors", "report.json"]
    assert f"{measured.accuracy:.2%}" in capsys.readouterr().out


def test_fuse_without_test_data_reports_no_accuracies(files: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert main(fuse_arguments(files, "--recipe", "average", "--report", str(report))) == 0
    found = json.loads(report.read_text())
    assert [p["file"] for p in found["parents"]] == ["a.safetensors", "b.safetensors"]
    assert "fused" not in found


def test_samples_draws_calibration_samples(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert main(fuse_arguments(files, "--recipe", "average", "--samples", "50", "--report", str(report))) == 0
    assert json.loads(report.read_text())["calibration"]["samples"] == 50
    capsys.readouterr()
    assert main(fuse_arguments(files, "--recipe", "average", "--samples", "0")) == 2
    assert "0 calibration samples are too few" in one_line(capsys)


def test_fuse_with_a_recipe_file(files: Path, tmp_path: Path) -> None:
    recipe, report = tmp_path / "mine.yaml", tmp_path / "report.json"
    recipe.write_text("name: mine\ngrouping: hungarian\nsolver: average\n")
    assert main(fuse_arguments(files, "--recipe", str(recipe), "--report", str(report))) == 0
    assert json.loads(report.read_text())["recipe"]["name"] == "mine"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--recipe", "kf_liner"], "did you mean 'kf_linear'"),
        (["--recipe", "missing.yaml"], "missing.yaml: there is no such file"),
        (["--recipe", "average", "--set", "grouping"], "path.to.key=value"),
        (["--recipe", "kf_linear", "--set", "grouping.trys=3"], "did you mean 'tries'"),
        (["--recipe", "kf_linear", "--set", "grouping.tries=0"], "too small"),
        (["--recipe", "average", "--test", "missing.npz"], "missing.npz"),
        (["--recipe", "average", "--out", "no/such/folder/x.safetensors"], "folder does not exist"),
        (["--recipe", "average", "--seed", "x"], "invalid int"),
        (["--recipe", "average", "--device", "cuda:99"], "device"),
        (["--nonsense"], "--recipe"),
        ([], "--recipe"),
    ],
)
def test_errors_take_one_line_and_leave_nothing(
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    out = tmp_path / "fused.safetensors"
    arguments = fuse_arguments(files, *more)
    arguments += [] if "--out" in more else ["--out", str(out)]
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse leaves this way
        status = stop.code
    assert status == 2
    assert words in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_parents_that_do_not_belong_together(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parents = [str(files / "a.safetensors"), str(files / "foreign.safetensors")]
    assert main(["fuse", *parents, "--calibration", str(files / "calib.npz"), "--recipe", "average"]) == 2
    line = one_line(capsys)
    assert "a and foreign" in line or "in a and" in line
    assert str(files) not in line


def test_debug_shows_the_traceback(files: Path) -> None:
    with pytest.raises(Exception, match="no recipe"):
        main(fuse_arguments(files, "--recipe", "nothing", "--debug"))


def test_an_interruption_leaves_nothing(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupt)  # the report's
    outputs = ["--out", str(tmp_path / "fused.safetensors"), "--report", str(tmp_path / "report.json")]
    assert main(fuse_arguments(files, "--recipe", "average", *outputs)) == 130
    assert "interrupted" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_keeps_the_outputs_of_an_earlier_one(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused.safetensors"
    out.write_bytes(b"earlier")
    assert main(fuse_arguments(files, "--recipe", "average", "--set", "solver=nothing", "--out", str(out))) == 2
    assert out.read_bytes() == b"earlier"


def test_evaluate(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    models = [str(files / f"{name}.safetensors") for name in ("a", "other")]
    assert main(["evaluate", *models, "--test", str(files / "test.npz"), "--report", str(report)]) == 0
    found = json.loads(report.read_text())["models"]
    expected = evaluate(load_parent(models[1]).model, None, load_data(files / "test.npz"))
    assert [m["file"] for m in found] == ["a.safetensors", "other.safetensors"]
    assert found[1]["accuracy"] == expected.accuracy
    assert f"{expected.accuracy:.2%}" in capsys.readouterr().out


def test_inspect_shows_spaces_and_levels(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(files / "a.safetensors")]) == 0
    text = capsys.readouterr().out
    assert "fc1" in text
    assert "verified" in text
    assert main(["inspect", str(files / "a.safetensors"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["spaces"][0]["size"] == 12
    assert found["verify"]["fc1"] < 1e-8


def test_inspect_of_parents_that_do_not_fit(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parents = [str(files / f"{name}.safetensors") for name in ("a", "b", "foreign")]
    assert main(["inspect", *parents, "--json"]) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [[cell["ok"] for cell in row] for row in found["matrix"]] == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]
    assert found["error"] == err.strip()


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    text = capsys.readouterr().out
    for preset in recipes().values():
        assert preset.name in text
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in listed] == list(recipes())
    needs = {p["name"]: p["needs"] for p in listed}
    assert needs["hf_linear"] == "2 parents of equal widths, calibration samples"
    assert needs["ties"].endswith("the base model they were trained from")
    assert f"Needs: {needs['hf_linear']}" in text


def test_recipes_tell_how_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    parents = "a" * 32
    store.save_parents(parents, lambda folder: None, {"id": parents, "name": "my pair", "parents": [{}, {}]})
    for accuracy in (0.91, 0.88):
        run = store.create_run("fuse", {"parents": parents, "test": "digits:test", "recipe": "average"})
        report = {"fused": {"accuracy": accuracy}, "seconds": {"total": 0.5}}
        (store.run_folder(run) / "report.json").write_text(json.dumps(report))
        store.write_status(run, "done")
    assert main(["recipes", "--runs"]) == 0
    text = capsys.readouterr().out
    assert "On my pair: best 91.00%, last 88.00% in 0.50 s (2 runs, tested on digits:test)" in text
    assert main(["recipes", "--runs", "--json"]) == 0
    listed = {p["name"]: p["runs"] for p in json.loads(capsys.readouterr().out)}
    assert listed["average"][0]["runs"] == 2
    assert listed["kf_linear"] == []


def test_a_recipe_with_a_base_model(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = fuse_arguments(files, "--recipe", "ties", "--out", str(tmp_path / "fused.safetensors"))
    assert main(arguments) == 2
    assert "solver 'ties' needs the base model that the parents were trained from" in one_line(capsys)
    assert main([*arguments, "--base", str(files / "other.safetensors")]) == 2
    assert "the base model other does not fit: 'fc1.weight' is (9, 64) there and (12, 64) in a" in one_line(capsys)
    assert main([*arguments, "--base", str(files / "nowhere.pt")]) == 2
    assert "nowhere.pt: there is no such file" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []
    assert main([*arguments, "--base", str(files / "a.safetensors")]) == 0
    assert (tmp_path / "fused.safetensors").exists()


def test_help_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fuse", "--help"])
    text = capsys.readouterr().out
    for kind in ("importance", "grouping", "solver", "post"):
        for name in names(kind):
            assert f"    {name}: " in text


def test_as_a_program(files: Path) -> None:
    command = [sys.executable, "-m", "fusion_engine", "inspect", str(files / "missing.pt")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "missing.pt: there is no such file\n"


def test_train_writes_a_whole_folder_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "parents"
    arguments = ["train", "--arch", "mlp", "--data", "digits:test", "--parents", "2", "--epochs", "1"]
    assert main([*arguments, "--regime", "sharded", "--out", str(out)]) == 0
    capsys.readouterr()
    assert sorted(p.name for p in out.iterdir()) == ["parent_0.safetensors", "parent_1.safetensors", "parents.json"]
    counts = [e["class_counts"] for e in json.loads((out / "parents.json").read_text())["parents"]]
    assert [sum(n > 0 for n in c) for c in counts] == [5, 5]
    assert load_parent(out / "parent_1.safetensors").metadata.class_counts == counts[1]
    assert main([*arguments, "--base", str(out / "parent_0.safetensors"), "--out", str(tmp_path / "tuned")]) == 0
    tuned = load_parent(tmp_path / "tuned" / "parent_0.safetensors")
    assert tuned.metadata.training["base"] == load_parent(out / "parent_0.safetensors").digest
    capsys.readouterr()
    assert main([*arguments, "--out", str(out)]) == 2
    assert "exists already" in one_line(capsys)
    assert main([*arguments, "--arch", "vgx", "--out", str(tmp_path / "new")]) == 2
    assert "did you mean 'vgg'" in one_line(capsys)
    assert main([*arguments, "--device", "tpu", "--out", str(tmp_path / "new")]) == 2
    assert "no device 'tpu'" in one_line(capsys)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parents", "tuned"]
