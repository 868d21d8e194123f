"""The report of a run: one file, whose contents are escaped and which may ask for nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_engine import fuse, load_data
from fusion_engine.cli.main import main
from fusion_engine.core.errors import StoreError
from fusion_engine.demo import demo_files
from fusion_engine.parents import load_parents
from fusion_engine.sharing.html_report import run_report
from fusion_engine.sharing.snippet import notebook, snippet

RECIPE = {"importance": "uniform", "grouping": "kmeans", "solver": "average"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fusion."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    digits = load_data("digits")
    parents = load_parents(demo_files("mlp")[:2])
    test = digits.subset(list(range(100, 200)))
    fuse(parents, digits.subset(list(range(100))), RECIPE, test=test).save(folder)
    return folder


def charts(page: str) -> list[dict[str, Any]]:
    found = re.search(r"const CHARTS = (.*);\n", page)
    assert found
    return list(json.loads(found[1]))


def test_it_shows_what_the_report_says(saved: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "report.html"
    assert main(["report", str(saved), "--html", str(target)]) == 0
    page = target.read_text()
    report = json.loads((saved / "report.json").read_text())
    bars = charts(page)[0]["traces"][0]
    assert bars["x"][-1] == 100 * report["fused"]["accuracy"]
    assert bars["y"][-1] == "Fused"
    assert f"{report['fused']['accuracy']:.2%}" in page
    assert "default-src 'none'" in page
    assert "Plotly" in page[: page.index("const CHARTS")]
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href|url)\s*[=(]", outside.replace("default-src", ""))


def test_names_from_files_are_only_text(saved: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = tmp_path / "evil"
    folder.mkdir()
    report = json.loads((saved / "report.json").read_text())
    report["parents"][0]["file"] = evil
    report["warnings"] = [evil]
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "about.json").write_text(json.dumps({"name": evil, "note": evil, "tags": ["<i>"], "changed": 1.0}))
    page = run_report(folder)
    assert evil not in page
    assert page.count("&lt;img src=x") > 2  # name, note and warning are there
    assert "<i>" not in page
    assert "<img" not in page[page.index("const CHARTS") :]
    assert charts(page)[0]["traces"][0]["y"][0].startswith("&lt;/script&gt;")


def test_groups_and_neurons_are_drawn_where_they_are_kept(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "explored"
    folder.mkdir()
    (folder / "report.json").write_bytes((saved / "report.json").read_bytes())
    space = {"index": 0, "name": "fc1", "size": 3, "error": 0.25}
    (folder / "explore.json").write_text(json.dumps({"spaces": [space], "parents": ["a", "b"]}))
    np.savez(
        folder / "explore.npz",
        **{"0/parent": np.array([0, 0, 1]), "0/neuron": np.array([0, 1, 0]), "0/group": np.array([0, 1, 0]),
           "0/importance": np.ones(3), "0/pca": np.arange(9.0).reshape(3, 3)},
    )
    lost, plane = charts(run_report(folder))[-3:-1]
    assert lost["traces"][0]["y"] == [25]
    assert [trace["x"] for trace in plane["traces"]] == [[0, 3], [6]]


def test_damage_is_a_line_and_a_damaged_note_hides_no_report(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes((saved / "report.json").read_bytes())
    for said in (b"{", b"[1]", b'{"name": 3}'):
        (tmp_path / "about.json").write_bytes(said)
        assert "<h1>Fusion" in run_report(tmp_path)
    (tmp_path / "explore.json").write_text(json.dumps({"spaces": [], "parents": []}))
    for arrays in (b"PK\x03\x04 cut", b"no archive", b"PK\x05\x06"):
        (tmp_path / "explore.npz").write_bytes(arrays)
        with pytest.raises(StoreError, match="damaged"):
            run_report(tmp_path)


def test_what_is_no_fusion_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no report\.json"):
        run_report(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        run_report(tmp_path)
    with pytest.raises(StoreError, match="not the id of a run"):
        run_report("somewhere")


def test_the_snippet_gives_the_same_weights(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.jobs.inputs import draw_samples

    recipe = {**RECIPE, "edits": [{"edit": "merge", "space": "fc1", "neurons": ["0:1", "1:2"]}]}
    files = [str(path) for path in demo_files("mlp")[:2]]
    text = snippet({"seed": 4, "samples": 100}, recipe, files, "digits:train")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(text, "snippet", "exec"), names)
    wanted = fuse(load_parents(files), draw_samples(load_data("digits:train"), 100, 4), recipe, seed=4)
    assert all((names["result"].state[name] == tensor).all() for name, tensor in wanted.state.items())
    assert (tmp_path / "fused" / "fused.safetensors").is_file()
    assert json.loads(notebook(text))["cells"][0]["source"][0].startswith("# Fuses to the same weights")


def test_names_of_files_cannot_become_code() -> None:
    text = snippet({}, RECIPE, ['a"]); import os; os.abort() #', "b\n"], "c'", test="d\\")
    compile(text, "snippet", "exec")
    assert "import os" not in [line.strip() for line in text.splitlines()]
