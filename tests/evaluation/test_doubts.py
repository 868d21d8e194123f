"""Parents at chance, and data in other units than the test set's, are said."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import load_demo
from fusion_engine.evaluation import chance_notes, unlike_notes
from fusion_engine.pipeline import fuse
from fusion_engine.stats import StatisticsCache


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train").subset(list(range(400)))


def test_parents_at_chance_are_said(digits: Dataset) -> None:
    parents = load_demo()[:2]
    assert digits.y is not None
    shuffled = replace(digits, y=digits.y[torch.randperm(400, generator=torch.Generator().manual_seed(0))])
    lines = chance_notes(parents, shuffled)
    assert len(lines) == 2
    assert all("no better than chance" in line for line in lines)
    assert chance_notes(parents, digits) == []
    assert sum("no better than chance" in line for line in fuse(parents, shuffled, "average").report["warnings"]) == 2


def test_data_in_other_units_is_said(digits: Dataset) -> None:
    test = load_data("digits:test")
    assert unlike_notes(digits, test) == unlike_notes(digits, None) == []
    raw = Dataset(digits.x.float(), digits.y, classes=10, name="raw")
    (line,) = unlike_notes(raw, test)
    assert line.startswith("raw and digits:test differ as networks get them")
    assert "other units" in line


def test_too_few_samples_to_choose_by_are_said(digits: Dataset) -> None:
    few = replace(digits.subset([0, 1, 2, 3, 4]), y=None, classes=10)
    assert any("too few" in line for line in fuse(load_demo()[:2], few, "average").report["warnings"])


def test_fusions_of_the_same_parents_look_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    parents, cache, looked = load_demo()[:2], StatisticsCache(), []

    def look(*given: object) -> list[str]:
        looked.append(given)
        return ["said"]

    monkeypatch.setattr(sys.modules["fusion_engine.pipeline.prepare"], "chance_notes", look)
    reports = [fuse(parents, digits, "average", cache=cache, seed=seed).report for seed in (0, 1)]
    assert len(looked) == 1
    assert all("said" in report["warnings"] for report in reports)
    fuse(parents, digits.subset(slice(0, 50)), "average", cache=cache)
    fuse([parents[1], parents[0]], digits, "average", cache=cache)
    assert len(looked) == 3  # other samples, other parents
