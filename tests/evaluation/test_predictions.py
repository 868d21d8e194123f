"""What each network says of every sample, against running the networks by hand; and what is not kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fusion_engine.data import load_data
from fusion_engine.demo import load_demo
from fusion_engine.evaluation import compare, compared
from fusion_engine.evaluation.predictions import predictions
from fusion_engine.tasks import required_task


def test_answers_are_the_networks_own_and_the_reports() -> None:
    parents, data = load_demo("mlp"), load_data("digits:test").subset(list(range(120)))
    report, found = compared(parents, parents[0].state, data)
    assert found is not None
    assert found.networks == (
        "parents/0", "parents/1", "parents/2", "parents/3", "average", "ensemble", "softmax_ensemble", "fused"
    )
    right = (found.predicted == found.labels).mean(1)
    own = [*report["parents"], *(report[name] for name in found.networks[4:])]
    assert right.tolist() == [entry["accuracy"] for entry in own]
    logits = parents[2].model(data.normalised()).detach()
    assert found.predicted[2].tolist() == logits.argmax(1).tolist()
    assert np.abs(found.confidence[2] - logits.softmax(1).max(1).values.numpy()).max() < 1e-3
    assert (found.predicted[-1] == found.predicted[0]).all()
    assert found.labels.tolist() == data.y.tolist()
    assert report["test"] == {"name": data.name, "samples": 120, "digest": data.digest}
    assert compare(parents, parents[0].state, data) == report


def test_what_is_no_answer_to_a_sample_is_not_kept(monkeypatch) -> None:
    data = load_data("digits:test").subset(list(range(6)))
    task = required_task(data, (10,))
    logits = {"a": torch.randn(6, 10), "b": torch.randn(6, 10)}
    assert predictions(logits, data.y, 6, task) is not None
    assert predictions(logits, data.y, 3, task) is None  # two positions a sample
    monkeypatch.setattr("fusion_engine.evaluation.predictions._MOST", 11)
    assert predictions(logits, data.y, 6, task) is None
    values = replace(data, y=torch.randn(6, 10), task="regression")
    assert predictions(logits, values.y, 6, required_task(values, (10,))) is None
