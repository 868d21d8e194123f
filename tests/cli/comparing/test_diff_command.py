"""The command `diff`, on files, on the folder of a run, and on runs of the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_engine import store
from fusion_engine.cli.main import main
from fusion_engine.demo import demo_files, load_demo
from fusion_engine.parents import load_parents
from fusion_engine.pipeline import fuse
from tests.jobs.job_runs import done, ended


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with the demo's parents and a fusion of them, called 'good'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_HOME", str(tmp_path_factory.mktemp("diff") / "home"))
        found = str(store.read_result(done("import_parents", demo="digits"))["parents"])
        run = done("fuse", parents=found, data="digits:train", samples=60, recipe="average")
        store.describe_run(run, name="good")
        yield {"set": found, "run": run}


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(str, demo_files("mlp")[:2])
    file = tmp_path / "report.json"
    assert main(["diff", first, second, "--data", "digits:test", "--samples", "100", "--report", str(file)]) == 0
    out = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["networks"] == ["parent_0", "parent_1"]
    assert found["samples"] == 100
    for layer in found["layers"]:
        assert f"{layer['as_is']:.3f}" in out
        assert layer["name"] in out
    assert f"{found['spaces'][0]['cka']:.3f}" in out
    assert "aligned by balanced" in out
    assert main(["diff", first, second, "--tensors", "--align", "none"]) == 0
    out = capsys.readouterr().out
    assert "in the second file" in out
    assert "fc1.bias" in out
    assert "CKA" not in out


def test_a_run_of_the_store_and_a_runs_folder(
    parents: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = demo_files("mlp")
    assert main(["diff", "good", str(files[0]), "--align", "none"]) == 0
    by_name = capsys.readouterr().out
    assert "parent_0 against good" in by_name
    folder = store.run_folder(parents["run"])
    assert main(["diff", str(folder), str(files[0]), "--align", "none"]) == 0
    assert by_name.splitlines()[2:8] == capsys.readouterr().out.splitlines()[2:8]


def test_a_name_of_two_runs_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    for _ in range(2):
        store.describe_run(store.create_run("fuse", {}), name="twice")
    assert main(["diff", "twice", str(demo_files("mlp")[0])]) == 2
    assert "means 2 runs" in capsys.readouterr().err


def test_the_plain_average_is_between_its_two_parents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = load_parents(demo_files("vgg"))
    from fusion_engine import difference, load_data

    fused = fuse(pair, load_data("digits:train").subset(list(range(40))), "average")
    fused.save(tmp_path / "run")
    file = tmp_path / "report.json"
    parent = str(demo_files("vgg")[0])
    assert main(["diff", parent, str(tmp_path / "run"), "--align", "none", "--report", str(file)]) == 0
    near = json.loads(file.read_text())["as_is"]
    assert 0 < near < difference(*load_demo("vgg"), align="none")["as_is"]


def test_the_job_says_what_the_command_says(parents: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run = done("difference", first=f"{parents['set']}.0", second=parents["run"], data="digits:test", samples=100)
    found = store.read_result(run)
    assert found["networks"] == ["parent_0", "good"]
    assert [level["name"] for level in found["structure"]["levels"]] == [level["name"] for level in found["levels"]]
    assert found["input_shape"] == [64]
    for more, words in (
        ({"second": f"{parents['set']}.0"}, "does not differ from itself"),
        ({"second": f"{parents['set']}.9"}, "number"),
        ({"second": run}, "only a fusion"), ({"second": None}, "must name networks"),
        ({"second": parents["run"], "align": "kmeans"}, "pairs no neurons"),
    ):
        _, status = ended("difference", **{"first": f"{parents['set']}.0", **more})
        assert status["state"] == "failed"
        assert words in status["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "nothing"], "nothing: there is no such file"), (["{0}", "{1}", "--align", "hungarian"], "samples"),
        (["{0}", "{vgg}"], "different architectures"), (["{0}", "{1}", "--report", "/nowhere/x"], "does not exist"),
    ],
)
def test_errors_take_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(file) for file in demo_files("mlp")]
    assert main(["diff", *(part.format(*files, vgg=demo_files("vgg")[0]) for part in arguments)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
