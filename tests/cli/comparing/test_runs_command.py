"""The command `runs`, on a store with fusions of the demo's parents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import fusion_engine
from fusion_engine import store
from fusion_engine.cli.main import main
from fusion_engine.store.files import write_json
from tests.jobs.job_runs import done


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """k-means and average of the same parents, and one that was tested on other samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_HOME", str(tmp_path_factory.mktemp("runs") / "home"))
        parents = str(store.read_result(done("import_parents", demo="digits"))["parents"])
        given = {"parents": parents, "data": "digits:train", "samples": 60}
        yield {
            "kf": done("fuse", recipe="kf_linear", test="digits:test", **given),
            "average": done("fuse", recipe="average", test="digits:test", **given),
            "elsewhere": done("fuse", recipe="average", test="digits", **given),
        }


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["runs", *arguments]) == 0
    return capsys.readouterr().out


def test_runs_are_named_tagged_and_found(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "rename", runs["kf"][-8:], "the good one")
    said(capsys, "tag", "the good one", "paper", "two words")
    said(capsys, "tag", runs["kf"], "--remove", "paper")
    said(capsys, "note", runs["kf"], "as in <table 1>")
    assert said(capsys, "note", runs["kf"]) == "as in <table 1>\n"
    (found,) = json.loads(said(capsys, "list", "table", "good", "--tag", "two words", "--json"))
    assert (found["run"], found["name"], found["tags"]) == (runs["kf"], "the good one", ["two words"])
    assert found["accuracy"] == store.read_report(runs["kf"])["fused"]["accuracy"]
    listed = said(capsys, "list", "--recipe", "average").splitlines()
    assert [line.split()[0] for line in listed[2:]] == [runs["elsewhere"], runs["average"]]
    assert said(capsys, "list", "--data", "digits", "--json").count('"run"') == 1
    assert "the good one" not in said(capsys, "list", "nowhere")


def test_a_comparison_tests_the_answers_themselves(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    out = said(capsys, "compare", runs["kf"], runs["average"], runs["elsewhere"], "--report", str(file))
    assert "left out" in out
    assert "other test data" in out
    found = json.loads(file.read_text())
    assert [row["run"] for row in found["rows"] if row["key"] == "fused"] == [runs["kf"], runs["average"]]
    by_hand = {}
    for name in ("kf", "average"):
        with np.load(store.result_path(runs[name], "predictions.npz")) as arrays:
            by_hand[name] = arrays["predicted"][list(arrays["networks"]).index("fused")] == arrays["labels"]
    b = int((by_hand["average"] & ~by_hand["kf"]).sum())
    c = int((by_hand["kf"] & ~by_hand["average"]).sum())
    row = found["rows"][-1]
    assert (row["key"], row["run"]) == ("fused", runs["average"])
    assert row["p"] == pytest.approx(stats.binomtest(b, b + c).pvalue)
    assert row["difference"] == pytest.approx((b - c) / 539)
    assert row["said"] == "worse"
    low, high = stats.binomtest(int(by_hand["average"].sum()), 539).proportion_ci(method="wilson")
    assert row["interval"] == pytest.approx([low, high])
    first = found["rows"][0]
    assert (first["key"], first["said"], first["p"]) == ("fused", "", None)


def test_foreign_runs_are_mixed_only_when_asked_for(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = fusion_engine.beside([runs["average"], runs["elsewhere"]], mix=True)
    assert "other test data: their figures" in found["notes"][0]
    row = found["rows"][-1]
    assert (row["run"], row["test"], row["samples"]) == (runs["elsewhere"], "Fisher's exact test", 1797)
    assert "--mix" not in said(capsys, "compare", runs["average"], runs["elsewhere"], "--mix")


def test_runs_of_earlier_versions_are_tested_once_they_are_evaluated(runs: dict[str, str]) -> None:
    run = store.create_run("fuse", store.read_job(runs["average"])["arguments"])
    for name in ("fused.safetensors", "report.json"):
        (store.run_folder(run) / name).write_bytes(store.result_path(runs["average"], name).read_bytes())
    report = store.read_report(run)
    report.pop("test")
    write_json(store.run_folder(run) / "report.json", report)
    store.write_status(run, "done")
    before = fusion_engine.beside([runs["kf"], run])
    assert before["rows"][-1]["p"] is None
    assert "not tested" in " ".join(before["notes"])
    done("evaluate", run=run, data="digits:test")
    after = fusion_engine.beside([runs["kf"], run])
    assert after["rows"][-1]["p"] == fusion_engine.beside([runs["kf"], runs["average"]])["rows"][-1]["p"]
    assert after["notes"] == []
    store.delete_run(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rename", "nothing", "x"], "there is no fusion 'nothing'"), (["tag", "{kf}"], "give tags to add"),
        (["tag", "{kf}", "a,b"], "without a comma"), (["rename", "{kf}", "x" * 81], "at most 80 characters"),
        (["compare", "{kf}", "--report", "/nowhere/x.json"], "does not exist"),
    ],
)
def test_errors_take_one_line(
    runs: dict[str, str], arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["runs", *(part.format(**runs) for part in arguments)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
