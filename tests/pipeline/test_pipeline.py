"""Fusing from end to end: real parents, the report's contract, files, and what must not happen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_engine import fuse, load_data, load_parents
from fusion_engine.core import registry
from fusion_engine.core.errors import Cancelled, RecipeError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.data import Dataset, balanced_sample
from fusion_engine.demo import load_demo
from fusion_engine.presets import recipes

QUICK = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    data = load_data("digits:train")
    return data.subset(balanced_sample(data, 20).tolist())


@pytest.fixture(scope="module")
def demo() -> list:
    return load_demo("vgg")


@pytest.fixture(scope="module")
def result(demo: list, digits: Dataset):
    return fuse(demo, digits, QUICK, test=load_data("digits:test"))


def test_report_follows_the_contract(result) -> None:
    report = result.report
    for name in ("ensemble", "softmax_ensemble", "average", "fused"):
        assert 0 <= report[name]["accuracy"] <= 1
    assert {"file", "accuracy", "loss"} <= set(report["parents"][0])
    stages = {"load", "verify", "importance", "grouping", "solve", "post", "evaluate", "total"}
    assert stages <= set(report["seconds"])
    inner = sum(report["seconds"][s] for s in ("trace", "verify", "importance", "grouping", "solve", "post"))
    assert inner <= report["seconds"]["total"] + 1e-3
    assert {"peak_memory_mb", "recipe", "spaces", "levels", "versions", "seed"} <= set(report)
    assert [s["name"] for s in report["spaces"]] == list(result.groupings)


def test_fusing_beats_the_plain_average_and_the_parents(result) -> None:
    report = result.report
    assert report["fused"]["accuracy"] > report["best_parent"]["accuracy"] > report["average"]["accuracy"]


def _has_steps(method: str) -> bool:
    return "steps" in {parameter.name for parameter in registry.get("post", method).parameters}


@pytest.mark.parametrize("name", recipes())
def test_every_preset_runs_on_two_parents(name: str, demo: list, digits: Dataset) -> None:
    recipe = recipes()[name].recipe
    shorter = {f"post.{i}.steps": 20 for i, step in enumerate(recipe.post) if _has_steps(step.method)}
    if "gradients" in registry.get("solver", recipe.solver.method).needs:
        shorter["solver.epochs"] = 1
    done = fuse(demo, digits, recipe.set(shorter), base=demo[0])
    assert all(torch.isfinite(t).all() for t in done.state.values())
    assert set(done.state) == set(demo[0].state)


def test_saved_files_load_again(result, demo: list, tmp_path: Path) -> None:
    result.save(tmp_path / "x")
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [
        "fused.safetensors", "groupings.npz", "predictions.npz", "recipe.yaml", "report.json",
    ]  # fmt: skip
    loaded = load_parents([tmp_path / "x" / "fused.safetensors"] * 2)[0]
    assert all(torch.equal(loaded.state[k], result.state[k]) for k in result.state)
    with np.load(tmp_path / "x" / "groupings.npz", allow_pickle=False) as arrays:
        assert any(key.endswith("|labels|0") for key in arrays.files)


def test_sample_order_changes_no_bit(demo: list, digits: Dataset) -> None:
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(5))
    one, other = fuse(demo, digits, QUICK), fuse(demo, digits.subset(order), QUICK)
    assert all(torch.equal(one.state[k], other.state[k]) for k in one.state)


def test_parents_stay_as_they_are(demo: list, digits: Dataset) -> None:
    before = [{k: v.clone() for k, v in p.state.items()} for p in demo]
    fuse(demo, digits, {**QUICK, "post": [{"method": "full_distillation", "steps": 3}]})
    assert all(torch.equal(a[k], p.state[k]) for a, p in zip(before, demo, strict=True) for k in a)
    assert all(torch.equal(v, p.state[k]) for p in demo for k, v in p.model.state_dict().items())


def test_progress_rises_to_one(demo: list, digits: Dataset) -> None:
    events: list[ProgressEvent] = []
    fuse(demo, digits, QUICK, on_progress=events.append)
    fractions = [e.fraction for e in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {"verify", "importance", "grouping", "solve"} <= {e.stage for e in events}


@pytest.mark.parametrize("stage", ["verify", "importance", "grouping", "solve", "post"])
def test_cancel_in_every_stage(stage: str, demo: list, digits: Dataset) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.stage == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        fuse(demo, digits, {**QUICK, "post": ["head_distillation"]}, on_progress=stop)


def test_one_parent_comes_back(demo: list, digits: Dataset) -> None:
    alone = fuse(demo[:1], digits, QUICK)
    with torch.inference_mode():
        x = digits.normalised()
        torch.testing.assert_close(alone.model(x), demo[0].model(x), rtol=1e-4, atol=1e-4)


def test_a_class_missing_is_named(demo: list, digits: Dataset) -> None:
    assert digits.y is not None
    found = fuse(demo, digits.subset(torch.nonzero(digits.y != 3).flatten()), {**QUICK, "importance": "conductance"})
    assert sum("no samples of class 3" in line for line in found.report["warnings"]) == 1
    assert all(bool(tensor.isfinite().all()) for tensor in found.state.values())


def test_missing_labels_are_noted(demo: list, digits: Dataset) -> None:
    blind = Dataset(x=digits.x, y=None, mean=digits.mean, std=digits.std, classes=digits.classes)
    report = fuse(demo, blind, {**QUICK, "importance": "conductance"}).report
    assert any("no labels" in line for line in report["warnings"])


def test_class_share_needs_class_counts(demo: list, digits: Dataset) -> None:
    from dataclasses import replace

    blind = [replace(p, metadata=replace(p.metadata, class_counts=None)) for p in demo]
    with pytest.raises(RecipeError, match="class counts"):
        fuse(blind, digits, {**QUICK, "solver": {"method": "least_squares", "head_weights": "class_share"}})


@pytest.mark.parametrize(("recipe", "percent"), [("hf_linear", 94.4), ("kf_linear", 94.8)])
def test_published_parents_reach_the_published_accuracy(recipe: str, percent: float, shared_data: Path) -> None:
    """METHODS.md: the published code's figures on its own parents, seed 0, conductance."""
    parents = load_parents([shared_data / "mnist-mlp-noniid2" / f"parent_{i}.safetensors" for i in range(2)])
    data, test = (load_data(shared_data / f"mnist-{n}.npz") for n in ("calibration-400", "test-9600"))
    report = fuse(parents, data, recipe, seed=0, test=test).report
    assert 100 * report["fused"]["accuracy"] >= percent


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(demo: list, digits: Dataset) -> None:
    recipe = {**QUICK, "solver": {"method": "least_squares", "ridge": 0.03}}
    one, other = fuse(demo, digits, recipe), fuse(demo, digits, recipe, device="cuda")
    with torch.inference_mode():
        x = digits.normalised()
        torch.testing.assert_close(one.model(x), other.model(x), rtol=1e-4, atol=1e-4)
