"""Two small networks for digits, and samples, of every search here."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import demo_files
from fusion_engine.parents import Parent, load_parent


@dataclass(frozen=True)
class Given:
    parents: list[Parent]
    data: Dataset
    test: Dataset


@pytest.fixture(scope="session")
def given() -> Given:
    digits = load_data("digits")
    parents = [load_parent(path) for path in demo_files("mlp")[:2]]
    return Given(parents, digits.subset(list(range(160))), digits.subset(list(range(160, 260))))
