"""Every kind of job on real parents and data, in this process."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.data import load_data
from fusion_engine.demo import demo_files
from fusion_engine.evaluation import evaluate
from fusion_engine.parents import load_parent
from tests.jobs.job_runs import done, ended


@pytest.fixture
def demo() -> str:
    """Id of the demo's parent set."""
    return str(store.read_result(done("import_parents", demo="digits"))["parents"])


def test_the_demo(demo: str) -> None:
    summary = store.read_parents_summary(demo)
    assert [p["name"] for p in summary["parents"]] == ["parent_0", "parent_1", "parent_2", "parent_3"]
    assert all(sum(p["class_counts"]) > 100 for p in summary["parents"])
    assert summary["parents"][0]["layers"][0]["shape"][1] == 64
    assert store.list_parents() == [summary]
    assert store.read_result(done("import_parents", demo="digits"))["parents"] == demo
    images = store.read_result(done("import_parents", demo="digits_vgg"))["summary"]
    assert (len(images["parents"]), images["input_shape"]) == (2, [1, 8, 8])


def test_uploaded_parents_and_their_class_counts() -> None:
    contents = [path.read_bytes() for path in demo_files()]
    counts = {"parents": [{"file": "x.safetensors", "class_counts": list(range(10))}]}
    upload = store.save_upload(
        [("x.safetensors", contents[0]), ("y.safetensors", contents[1]), ("parents.json", json.dumps(counts).encode())]
    )
    summary = store.read_result(done("import_parents", upload=upload, name="mine"))["summary"]
    assert summary["name"] == "mine"
    assert [p["name"] for p in summary["parents"]] == ["x", "y"]
    assert summary["parents"][0]["class_counts"] == list(range(10))


def test_each_bad_file_gets_its_own_line(home: Path) -> None:
    good = demo_files()[0].read_bytes()
    upload = store.save_upload([("good.safetensors", good), ("bad.safetensors", b"no"), ("evil.pt", b"cos\nsystem\n.")])
    run, status = ended("import_parents", upload=upload)
    assert status["state"] == "failed"
    errors = store.read_result(run)["errors"]
    assert [e["file"] for e in errors] == ["bad.safetensors", "evil.pt"]
    for entry in errors:
        assert entry["error"].startswith(entry["file"])
        assert "file-" not in entry["error"]
        assert str(home) not in entry["error"]
    assert store.list_parents() == []


def test_one_parent_is_not_a_set() -> None:
    upload = store.save_upload([("a.safetensors", demo_files()[0].read_bytes())])
    assert "2 to 8" in ended("import_parents", upload=upload)[1]["error"]


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("import_parents", {"demo": "digit"}, "did you mean 'digits'"),
        ("import_parents", {}, "exactly one"),
        ("import_parents", {"demo": "digits", "arch": "os:system"}, "never imported"),
        ("import_data", {"source": "/etc/passwd"}, "no built-in data"),
        ("fuse", {"parents": "../x", "data": "digits", "recipe": "average"}, "not the id"),
        ("fuse", {"parents": "0" * 32, "data": "digits", "recipe": "average"}, "not in the store"),
        ("train", {"parents": 99}, "whole number from 2 to 8"),
        ("evaluate", {"data": "digits"}, "exactly one"),
    ],
)
def test_wrong_arguments_fail_in_one_line(kind: str, arguments: dict[str, Any], words: str) -> None:
    _, status = ended(kind, **arguments)
    assert status["state"] == "failed"
    assert words in status["error"]


def test_uploaded_data() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((6, 8, 8), np.uint8), y=np.arange(6) % 3)
    result = store.read_result(done("import_data", upload=store.save_upload([("mine.npz", buffer.getvalue())])))
    assert result["summary"] | {"created": 0} == {
        "id": result["data"], "name": "mine.npz", "samples": 6, "shape": [1, 8, 8], "dtype": "uint8", "classes": 3,
        "counts": [2, 2, 2], "labelled": True, "mean": None, "std": None, "created": 0,
    }
    assert store.list_data() == [result["summary"]]


def test_preflight(demo: str) -> None:
    found = store.read_result(done("preflight", parents=demo))
    assert (found["ok"], found["error"]) == (True, None)
    assert [s["name"] for s in found["spaces"]] == ["fc1", "fc2"]
    assert set(found["verify"]) == {"fc1", "fc2"}
    assert max(found["verify"].values()) < 1e-8 < found["sensitivity"]
    assert [layer["level"] for layer in found["layers"]] == [0, 1, 2]
    assert found["layers"][0]["parameters"] == 64 * 64 + 64


def test_a_fusion_has_a_full_run_folder(demo: str) -> None:
    run = done("fuse", parents=demo, data="digits:train", test="digits:test", recipe="kf_linear", samples=200)
    report = store.read_report(run)
    assert report["calibration"]["samples"] == 200
    assert report["fused"]["accuracy"] > report["average"]["accuracy"]
    explored, groupings = store.read_explore(run), store.read_groupings(run)
    assert [s["name"] for s in explored["spaces"]] == list(groupings) == ["fc1", "fc2"]
    assert [level["spaces"] for level in explored["levels"]] == [["fc1"], ["fc2"], []]
    for space in explored["spaces"]:
        arrays = store.read_arrays(run, "explore.npz", f"{space['index']}/")
        assert arrays["group"].tolist() == np.concatenate(groupings[space["name"]].labels or []).tolist()
        assert arrays["importance"] == pytest.approx(np.concatenate(groupings[space["name"]].importance or []))
        assert len(arrays["group_error"]) == space["size"]
    fused = load_parent(store.result_path(run, "fused.safetensors"))
    measured = evaluate(fused.model, None, load_data("digits:test"))
    assert measured.accuracy == report["fused"]["accuracy"]

    again = store.read_result(done("evaluate", run=run, data="digits:test"))
    assert again["models"][-1] | {"name": ""} == report["fused"] | {"name": ""}
    assert again["softmax_ensemble"] == report["softmax_ensemble"]
    stages = [event["stage"] for event in store.read_events(run)]
    assert {"importance", "grouping", "solve", "evaluate"} <= set(stages)


def test_explore_and_embed(demo: str) -> None:
    run = done("explore", parents=demo, data="digits:train", samples=100, grouping={"method": "kmeans", "tries": 1})
    found = store.read_explore(run)
    assert found["samples"] == 100
    assert found["grouping"]["tries"] == 1
    picture = done("embed", run=run, space="fc2", neighbours=5)
    assert store.read_result(picture)["total"] == 128
    first = store.read_arrays(picture, "embed.npz")
    assert first["coordinates"].shape == (128, 2)
    cached = list(store.folder("cache").glob("umap-*.npz"))
    second = store.read_arrays(done("embed", run=run, space="fc2", neighbours=5), "embed.npz")
    np.testing.assert_array_equal(first["coordinates"], second["coordinates"])
    assert list(store.folder("cache").glob("umap-*.npz")) == cached
    assert "did you mean 'fc2'" in ended("embed", run=run, space="fc22")[1]["error"]
    deep = done("embed", run=run, space="fc2", dimensions=3, metric="cosine")
    assert store.read_arrays(deep, "embed.npz")["coordinates"].shape == (128, 3)
    assert "did you mean 'cosine'" in ended("embed", run=run, space="fc2", metric="cosin")[1]["error"]
    assert "dimensions" in ended("embed", run=run, space="fc2", dimensions=4)[1]["error"]


def test_training() -> None:
    result = store.read_result(done("train", parents=3, regime="sharded", epochs=1, seed=4))
    parents = result["summary"]["parents"]
    assert len(parents) == 3
    assert [sum(n > 0 for n in p["class_counts"]) for p in parents] == [4, 3, 3]
    assert parents[0]["training"]["seed"] == 4
