from __future__ import annotations

import pytest
import torch

from fusion_engine.analysis import coverage
from fusion_engine.core.errors import DataError
from fusion_engine.data import Dataset

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
DATA = Dataset(torch.zeros(6, 2), LABELS, classes=4)


def answers(*classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), 4).float()


def test_who_knows_what() -> None:
    logits = torch.stack([answers(0, 0, 1, 2, 0, 0), answers(1, 1, 1, 1, 0, 0)])
    found = coverage(["a", "b"], logits, DATA, [[3, 2, 0, 0], None], fused=answers(0, 1, 1, 1, 2, 0))
    assert [p["per_class"] for p in found["parents"]] == [[1, 0.5, 0, None], [0, 1, 0, None]]
    assert [p["class_counts"] for p in found["parents"]] == [[3, 2, 0, 0], None]
    assert found["best"] == [0, 1, 0, None]
    assert found["only"] == [0, None, None, None]  # class 1 is known to both, class 2 to none
    assert found["unknown"] == [2]
    fused = found["fused"]
    assert fused["per_class"] == [0.5, 1, 0.5, None]
    assert fused["difference"] == [-0.5, 0, 0.5, None]
    assert fused["kept"] == pytest.approx([2 / 3, 1])
    assert fused["accuracy"] == pytest.approx(4 / 6)


def test_without_a_fused_network_and_with_a_parent_that_is_never_right() -> None:
    found = coverage(["a"], answers(3, 3, 3, 3, 3, 3)[None], DATA)
    assert found["fused"] is None
    assert found["unknown"] == [0, 1, 2]
    again = coverage(["a"], answers(3, 3, 3, 3, 3, 3)[None], DATA, fused=answers(0, 0, 1, 1, 2, 2))
    assert again["fused"]["kept"] == [None]


def test_labels_are_needed() -> None:
    with pytest.raises(DataError, match="no labels"):
        coverage(["a"], answers(0, 0)[None], Dataset(torch.zeros(2, 2), None, classes=4))
