from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_engine.core.errors import DataError
from fusion_engine.data import IGNORED, Dataset, canonical_order, held_out, load_data, save_npz

IDS = np.arange(12).reshape(4, 3)
MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])


def test_named_tokens_are_read_masked_and_written_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", input_ids=IDS, attention_mask=MASK.astype(bool), labels=np.array([0, 1, 1, 0]))
    data = load_data(tmp_path / "t.npz")
    assert data.inputs == data.tokens == ("input_ids", "attention_mask")
    assert data.input_shape == (2, 3)
    assert data.classes == 2
    assert torch.equal(data.part(data.x, "input_ids"), torch.tensor(IDS))
    assert torch.equal(data.counted(data.x), torch.tensor(MASK.astype(bool)))
    assert data.counted(data.x[[0, 3]]) is None  # nothing is masked there
    save_npz(tmp_path / "again.npz", data)
    again = load_data(tmp_path / "again.npz")
    assert again.digest == data.digest
    assert again.inputs == data.inputs


def test_a_padding_mask_says_the_opposite(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", input_ids=IDS, padding_mask=1 - MASK)
    data = load_data(tmp_path / "t.npz", y_required=False)
    assert torch.equal(data.counted(data.x), torch.tensor(MASK.astype(bool)))


def test_labels_of_positions_and_values_keep_their_kind_and_task(tmp_path: Path) -> None:
    labels = np.where(MASK == 1, IDS % 4, IGNORED)
    np.savez(tmp_path / "p.npz", x=IDS, y=labels)
    data = load_data(tmp_path / "p.npz")
    assert data.tokens == ("input_ids",)
    assert data.classes == 4
    assert not data.is_classified
    with pytest.raises(DataError, match="one class a sample"):
        _ = data.counts
    assert int(held_out(data, 0.5).sum()) == 2
    shuffled = canonical_order(data.subset([2, 0, 3, 1]))
    assert torch.equal(shuffled.y, canonical_order(data).y)
    assert torch.equal(shuffled.x, canonical_order(data).x)

    values = Dataset(torch.rand(4, 3), torch.rand(4, 2), task="regression")
    save_npz(tmp_path / "v.npz", values)
    again = load_data(tmp_path / "v.npz")
    assert again.task == "regression"
    assert torch.equal(again.y, values.y)
    assert again.digest == values.digest != Dataset(values.x, values.y).digest


def test_there_is_no_other_task() -> None:
    with pytest.raises(DataError, match="no task 'ranking'"):
        Dataset(torch.rand(2, 3), None, task="ranking")
