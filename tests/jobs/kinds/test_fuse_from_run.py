"""Fusing again from a finished run: the same weights as by the command line from scratch, to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fusion_engine import store
from fusion_engine.cli.main import main
from fusion_engine.data import load_data, save_npz
from fusion_engine.demo import demo_files
from fusion_engine.parents import read_safetensors
from tests.jobs.job_runs import done, ended

KMEANS = {"importance": "activation", "grouping": "kmeans"}
RECIPES: dict[str, dict[str, Any]] = {
    "kmeans and least squares": {**KMEANS, "solver": "least_squares"},
    "hungarian, late": {"importance": "activation", "grouping": "hungarian", "solver": "least_squares"},
    "average and repair": {**KMEANS, "solver": "average", "post": ["repair"]},
}


@pytest.fixture
def vgg() -> str:
    return str(store.read_result(done("import_parents", demo="digits_vgg"))["parents"])


def edits_of(run: str, number: int) -> list[dict[str, Any]]:
    """Merges two groups, and excludes one neuron, of the explored space with this number."""
    entry = store.read_explore(run)["spaces"][number]
    arrays = store.read_arrays(run, "explore.npz", f"{entry['index']}/")
    names = [f"{p}:{i}" for p, i in zip(arrays["parent"], arrays["neuron"], strict=True)]
    other = int((arrays["group"] != arrays["group"][0]).argmax())
    return [
        {"edit": "merge", "space": entry["name"], "neurons": [names[0], names[other]]},
        {"edit": "exclude", "space": entry["name"], "neurons": [names[-1]]},
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_it_gives_the_weights_of_the_command_line_from_scratch(recipe: dict, vgg: str, tmp_path: Path) -> None:
    common = {"parents": vgg, "data": "digits:train", "test": "digits:test", "samples": 100}
    first = done("fuse", recipe=recipe, **common)
    edits = edits_of(first, -1)
    again = done("fuse", recipe={**recipe, "edits": edits}, from_run=first, **common)
    more = [*edits, *edits_of(first, 0)]
    third = done("fuse", recipe={**recipe, "edits": more}, from_run=again, **common)
    report = store.read_report(again)
    assert report["before"] == {"run": first, "accuracy": store.read_report(first)["fused"]["accuracy"]}
    assert report["edits"][0]["done"] == "groups of 2 neurons merged, 1 excluded"
    assert (store.run_folder(first) / "solved.safetensors").exists() == bool(recipe.get("post"))
    assert any("kept from the earlier fusion" in line for line in report["warnings"])
    calibration = tmp_path / "calibration.npz"
    save_npz(calibration, load_data("digits:train"))
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    for run, own in ((again, edits), (third, more)):
        (tmp_path / "edits.yaml").write_text(json.dumps({"edits": own}))
        out = tmp_path / "fused.safetensors"
        options = ["--calibration", str(calibration), "--samples", "100", "--recipe", str(tmp_path / "recipe.yaml")]
        files = ["--edits", str(tmp_path / "edits.yaml"), "--out", str(out)]
        assert main(["fuse", *map(str, demo_files("vgg")), *options, *files]) == 0
        assert same(out, store.result_path(run, "fused.safetensors"))
    assert not same(store.result_path(first, "fused.safetensors"), store.result_path(again, "fused.safetensors"))


def same(one: Path, other: Path) -> bool:
    (a, _), (b, _) = read_safetensors(one), read_safetensors(other)
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def test_a_run_that_does_not_fit_is_refused_in_one_line(vgg: str) -> None:
    recipe = RECIPES["average and repair"]
    first = done("fuse", parents=vgg, data="digits:train", samples=50, recipe=recipe)

    def error(**changes: Any) -> str:
        arguments = {"parents": vgg, "data": "digits:train", "samples": 50, "recipe": recipe, "from_run": first}
        run, status = ended("fuse", **{**arguments, **changes})
        assert status["state"] == "failed"
        assert not (store.run_folder(run) / "fused.safetensors").exists()
        return str(status["error"])

    assert "has another number of samples" in error(samples=60)
    assert "has another seed" in error(seed=3)
    assert "has other calibration data" in error(data="digits:test")
    assert "has another grouping in its recipe" in error(recipe={**recipe, "grouping": "balanced"})
    assert "is not in the store" in error(from_run=f"{first[:-1]}{'0' if first[-1] != '0' else '1'}")
    assert "only a fusion" in error(from_run=done("explore", parents=vgg, data="digits:train", samples=50))
    (store.run_folder(first) / "solved.safetensors").unlink()
    assert "run it again" in error()
