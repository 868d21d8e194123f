"""Dataset: what it accepts, what it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.core.errors import DataError
from fusion_engine.data import Dataset, make_dataset


def small(**changes: object) -> Dataset:
    fields: dict = {
        "x": torch.arange(6 * 2 * 3, dtype=torch.uint8).reshape(6, 2, 3),
        "y": torch.tensor([0, 1, 2, 0, 1, 1]),
        "classes": 4,
        "name": "small",
    }
    return Dataset(**{**fields, **changes})


def test_normalised_scales_uint8_then_normalises_per_channel() -> None:
    mean, std = torch.tensor([0.1, 0.2]), torch.tensor([0.5, 2.0])
    data = small(mean=mean, std=std)
    expected = (data.x.numpy() / 255 - np.array([0.1, 0.2])[None, :, None]) / np.array([0.5, 2.0])[None, :, None]
    np.testing.assert_allclose(data.normalised().numpy(), expected, rtol=1e-5)
    assert torch.equal(data.normalised(slice(1, 3)), data.normalised()[1:3])
    assert torch.equal(data.normalised([4, 0]), data.normalised()[[4, 0]])
    assert data.normalised().dtype == torch.float32


def test_float_samples_are_not_rescaled() -> None:
    x = torch.linspace(-2, 2, 12).reshape(6, 2)
    assert torch.equal(small(x=x).normalised(), x)


def test_batches_cover_everything_in_order() -> None:
    data = small()
    parts = list(data.batches(4))
    assert [len(x) for x, _ in parts] == [4, 2]
    assert torch.equal(torch.cat([x for x, _ in parts]), data.normalised())
    assert torch.equal(torch.cat([y for _, y in parts if y is not None]), data.y)


def test_counts_and_subset() -> None:
    data = small()
    assert data.counts.tolist() == [2, 3, 1, 0]
    part = data.subset([5, 2])
    assert len(part) == 2
    assert part.counts.tolist() == [0, 1, 1, 0]
    assert part.input_shape == (2, 3)


def test_digest_depends_on_contents_alone() -> None:
    data = small()
    assert data.digest == small(name="other").digest
    assert data.digest != small(y=torch.tensor([1, 1, 2, 0, 1, 1])).digest
    assert data.digest != small(x=data.x + 1).digest
    assert data.digest != small(mean=torch.zeros(1), std=torch.ones(1)).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(6, 2, dtype=torch.int32)}, "uint8 or float32"),
        ({"x": torch.zeros(6, 2, dtype=torch.int64), "mean": torch.zeros(1), "std": torch.ones(1)}, "tokens"),
        ({"x": torch.full((6, 2), float("nan"))}, "NaN"),
        ({"x": torch.zeros(0, 2), "y": None}, "at least one sample"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, "6 samples but 5 labels"),
        ({"y": torch.tensor([0, 1, 2, 0, 1, -1])}, "negative"),
        ({"y": torch.tensor([0, 1, 2, 0, 1, 4])}, "4 classes"),
        ({"mean": torch.zeros(1)}, "both mean and std"),
        ({"mean": torch.zeros(3), "std": torch.ones(3)}, "per channel"),
        ({"mean": torch.zeros(1), "std": torch.zeros(1)}, "above 0"),
    ],
)
def test_wrong_contents_are_refused_in_one_line(changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("small: ")


def test_grey_images_get_a_channel() -> None:
    data = make_dataset(np.zeros((3, 4, 5), np.uint8), np.array([0, 1, 1]), None, None, None, "grey")
    assert data.input_shape == (1, 4, 5)
    assert data.classes == 2


def test_counts_need_labels() -> None:
    with pytest.raises(DataError, match="labels"):
        _ = small(y=None).counts
