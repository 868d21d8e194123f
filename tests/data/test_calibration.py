"""Sampling calibration data, splitting it, checking that it fits."""

from __future__ import annotations

import pytest
import torch

from fusion_engine.core.errors import DataError
from fusion_engine.data import (
    Dataset,
    balanced_sample,
    canonical_order,
    check_samples,
    check_training,
    held_out,
    load_data,
    missing_note,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


def test_balanced_sample(digits: Dataset) -> None:
    indices = balanced_sample(digits, 7, seed=1)
    assert digits.subset(indices).counts.tolist() == [7] * 10
    assert (indices == balanced_sample(digits, 7, seed=1)).all()
    assert (indices != balanced_sample(digits, 7, seed=2)).any()
    with pytest.raises(DataError, match="class 8 has 122 samples and 123"):
        balanced_sample(digits, 123)
    with pytest.raises(DataError, match="class 3 has 0"):
        balanced_sample(digits.subset(digits.y != 3), 1)


@pytest.mark.parametrize("labelled", [True, False])
def test_held_out(digits: Dataset, labelled: bool) -> None:
    data = digits if labelled else Dataset(digits.x, None)
    mask = held_out(data, 0.2, seed=4)
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == round(0.2 * len(digits))
    assert torch.equal(mask, held_out(data, 0.2, seed=4))
    assert not torch.equal(mask, held_out(data, 0.2, seed=5))
    if labelled:
        assert abs(digits.subset(mask).counts / digits.counts - 0.2).max() < 0.02


def test_held_out_of_very_little(digits: Dataset) -> None:
    for n in (2, 3):
        assert 1 <= int(held_out(digits.subset(slice(0, n)), 0.2).sum()) < n
    with pytest.raises(DataError, match="cannot hold out"):
        held_out(digits.subset(slice(0, 1)))


def test_canonical_order_forgets_the_order_given(digits: Dataset) -> None:
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    one, other = canonical_order(digits), canonical_order(digits.subset(order))
    assert one.digest == other.digest != digits.digest
    assert (one.counts == digits.counts).all()


def test_check_training(digits: Dataset) -> None:
    check_training(digits, 10, (1, 8, 8))
    check_samples(Dataset(digits.x, None), 10, (64,))
    for data, classes, shape, message in [
        (digits, 10, (3, 32, 32), r"take samples of shape \(3, 32, 32\), and these have \(1, 8, 8\)"),
        (digits, 10, (65,), r"shape \(65,\)"),
        (digits, 9, (64,), "go up to 9"),
        (digits, 11, (64,), "no samples of class 10"),
        (digits.subset(digits.y != 6), 10, (64,), "no samples of class 6"),
        (Dataset(digits.x, None), 10, (64,), "no labels"),
    ]:
        with pytest.raises(DataError, match=message):
            check_training(data, classes, shape)


def test_missing_classes_are_named_up_to_ten(digits: Dataset) -> None:
    assert missing_note(digits, 10) == missing_note(Dataset(digits.x, None), 10) == ""
    assert "no samples of class 6: " in missing_note(digits.subset(digits.y != 6), 10)
    assert "class 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and 980 more: " in missing_note(digits, 1000)

