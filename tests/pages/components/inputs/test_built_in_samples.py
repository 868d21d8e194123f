"""What pages say of the built-in data without loading it."""

from __future__ import annotations

import pytest

from fusion_engine.data import load_data
from pages.components.inputs.pickers import BUILT_IN, BUILT_IN_SAMPLES, BUILT_IN_SHAPE


@pytest.mark.parametrize("name", BUILT_IN)
def test_sizes_are_those_of_the_data(name: str) -> None:
    data = load_data(name)
    assert len(data) == BUILT_IN_SAMPLES[name]
    assert tuple(data.x.shape[1:]) == BUILT_IN_SHAPE
