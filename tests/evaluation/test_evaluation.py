"""Measures against their definitions, and the published reference numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_engine.architectures import MLPConfig, VGGConfig, build
from fusion_engine.core.errors import DataError
from fusion_engine.data import Dataset, load_data
from fusion_engine.evaluation import collect_logits, compare, ensembles, evaluate, measure
from fusion_engine.graph import average_state
from fusion_engine.parents import load_parents, make_parent


def labelled(y: list[int], classes: int = 3) -> Dataset:
    return Dataset(torch.zeros(len(y), 2), torch.tensor(y), classes=classes, name="small")


def test_measure_by_hand() -> None:
    logits = torch.tensor([[2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1.0], [5.0, 0, 0, 0]])
    found = measure(logits, labelled([0, 1, 2, 1]))
    assert found.accuracy == 0.5
    assert found.per_class == (1.0, 0.5, 0.0, None)
    assert found.confusion[1] == (1, 1, 0, 0)
    assert found.confusion[2] == (0, 0, 0, 1)
    probabilities = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(4), [0, 1, 2, 1]]).mean(), rel=1e-6)


def test_ensembles_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[-1.0, 1.0]]])
    weights = torch.tensor([[0.25, 1.0], [0.75, 0.0]])
    found = ensembles(logits, weights)
    assert found["ensemble"].tolist() == [[0.5, 0.5]]
    assert found["head_weighted_ensemble"].tolist() == [[-0.25, 0.0]]
    first = (1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(2))) / 2
    np.testing.assert_allclose(found["softmax_ensemble"].exp().numpy(), [[first, 1 - first]], rtol=1e-6)
    assert "head_weighted_ensemble" not in ensembles(logits)


def test_average_state_keeps_types() -> None:
    states = [build(VGGConfig((1, 4, 4), (3, "M"), (2,), batch_norm=True)).state_dict() for _ in range(3)]
    average = average_state(states)
    expected = (states[0]["features.0.weight"] + states[1]["features.0.weight"] + states[2]["features.0.weight"]) / 3
    torch.testing.assert_close(average["features.0.weight"], expected)
    assert average["features.1.num_batches_tracked"].dtype == torch.int64


def test_evaluation_leaves_the_model_alone_and_batches_do_not_matter() -> None:
    torch.manual_seed(0)
    model = build(VGGConfig((1, 8, 8), (4, "M"), (10,), batch_norm=True)).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    data = load_data("digits:test").subset(slice(0, 100))
    one = evaluate(model, None, data, batch_size=7)
    other = evaluate(model, before, data, batch_size=100)
    assert one.confusion == other.confusion
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    with torch.inference_mode():
        expected = model.eval()(data.normalised())
    torch.testing.assert_close(collect_logits([model], [None], data)[0], expected)


def test_compare_agrees_with_single_evaluations() -> None:
    torch.manual_seed(1)
    config = MLPConfig((64, 12, 10))
    parents = [make_parent(f"p{i}", config, build(config).state_dict()) for i in range(3)]
    data = load_data("digits:test")
    report = compare(parents, parents[1].state, data, torch.full((3, 10), 1 / 3))
    singles = [evaluate(p.model, None, data) for p in parents]
    assert [p["file"] for p in report["parents"]] == ["p0", "p1", "p2"]
    assert [p["accuracy"] for p in report["parents"]] == [s.accuracy for s in singles]
    assert report["fused"]["confusion"] == report["parents"][1]["confusion"]
    assert report["best_parent"]["accuracy"] == max(s.accuracy for s in singles)
    assert report["mean_parent"]["accuracy"] == pytest.approx(np.mean([s.accuracy for s in singles]))
    assert report["head_weighted_ensemble"]["loss"] == pytest.approx(report["ensemble"]["loss"], rel=1e-5)
    assert "fused" not in compare(parents, None, data)


def test_labels_are_needed_and_must_fit() -> None:
    model = build(MLPConfig((2, 3)))
    with pytest.raises(DataError, match="no labels"):
        evaluate(model, None, Dataset(torch.zeros(3, 2), None))
    with pytest.raises(DataError, match="knows 3 classes"):
        evaluate(model, None, labelled([0, 4], classes=5))


def test_published_numbers(shared_data: Path) -> None:
    """docs/methods.md, 'What the published code scores': parents, average and ensembles of the MNIST pair."""
    folder = shared_data / "mnist-mlp-noniid2"
    parents = load_parents([folder / "parent_0.safetensors", folder / "parent_1.safetensors"])
    report = compare(parents, None, load_data(shared_data / "mnist-test-9600.npz"))
    percent = {name: 100 * report[name]["accuracy"] for name in ("average", "ensemble", "softmax_ensemble")}
    assert [round(100 * p["accuracy"], 2) for p in report["parents"]] == [88.65, 84.71]
    assert percent["average"] == pytest.approx(81.55, abs=0.02)
    assert percent["softmax_ensemble"] == pytest.approx(96.56, abs=0.02)
    assert percent["ensemble"] == pytest.approx(93.63, abs=0.02)
