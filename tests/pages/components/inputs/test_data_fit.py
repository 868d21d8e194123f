"""What the pages say of data before a fusion is what the engine says when it is asked for one."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import samples
import torch

from fusion_engine import store
from fusion_engine.core.errors import DataError
from fusion_engine.data import Dataset, check_samples
from pages.components.inputs.data_fit import misfit, misfits

SHAPES = ((64,), (1, 8, 8), (8, 8), (63,))
LABELS = (None, [0, 1, 2], [0, 2], [0, 1], [0, 1, 2, 3])


def engine_refuses(parents: dict[str, Any], data: Dataset, test: bool) -> bool:
    try:
        check_samples(data, parents["classes"], tuple(parents["input_shape"]))
    except DataError:
        return True
    return test and data.y is None


@pytest.mark.parametrize(("wanted", "given", "labels"), product(SHAPES[:2], SHAPES, LABELS))
def test_pages_and_engine_agree(home, wanted, given, labels) -> None:
    y = None if labels is None else torch.tensor(labels)
    classes = 0 if labels is None else max(labels) + 1
    data = Dataset(torch.zeros(len(labels or [0, 0]), *given), y, classes=classes)
    identifier = samples.add_data()
    summary = store.read_data_summary(identifier) | {
        "shape": list(given), "classes": classes, "labelled": labels is not None,
        "counts": None if labels is None else data.counts.tolist(),
    }
    store.delete_set("data", identifier)
    store.save_data(identifier, lambda folder: None, summary)
    parents = {"input_shape": list(wanted), "classes": 3}
    for test in (False, True):
        assert bool(misfit(parents, identifier, test=test)) == engine_refuses(parents, data, test)


def test_what_is_not_known_is_not_judged(home) -> None:
    parents = {"input_shape": None, "classes": 10}
    assert misfits(parents, "digits", "digits:test") == []
    assert misfits(parents, "gone", "") == []
    assert "1 × 8 × 8" in misfit(parents | {"input_shape": [3, 32, 32]}, "digits")
