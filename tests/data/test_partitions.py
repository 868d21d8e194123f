"""Regimes: who sees which samples."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_engine.core.errors import DataError
from fusion_engine.data import load_data, partition


@pytest.fixture(scope="module")
def digits():
    return load_data("digits:train")


def test_full_gives_everybody_everything(digits) -> None:
    shares = partition(digits, 3, "full")
    assert all((share == np.arange(len(digits))).all() for share in shares)


@pytest.mark.parametrize("regime", ["non_iid", "sharded"])
@pytest.mark.parametrize("parents", [2, 5, 8])
def test_shares_are_disjoint_and_complete(digits, regime: str, parents: int) -> None:
    shares = partition(digits, parents, regime, seed=3)
    assert len(shares) == parents
    assert (np.sort(np.concatenate(shares)) == np.arange(len(digits))).all()


def test_sharded_splits_whole_classes(digits) -> None:
    counts = np.array([digits.subset(share).counts for share in partition(digits, 3, "sharded")])
    assert ((counts > 0).sum(axis=0) == 1).all()
    assert sorted((counts > 0).sum(axis=1)) == [3, 3, 4]


def test_non_iid_is_uneven_seeded_and_follows_the_alphas(digits) -> None:
    shares = partition(digits, 2, "non_iid", seed=1)
    again = partition(digits, 2, "non_iid", seed=1)
    other = partition(digits, 2, "non_iid", seed=2)
    assert all((a == b).all() for a, b in zip(shares, again, strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(shares, other, strict=True))
    # Dirichlet(1, 5): the larger share of a class has expectation about 5/6.
    fractions = [
        np.sort(digits.subset(s).counts / digits.counts)
        for seed in range(20) for s in partition(digits, 2, "non_iid", seed=seed)
    ]
    larger = np.maximum(fractions, 1 - np.array(fractions)).mean()
    assert 0.78 < larger < 0.9


def test_errors(digits) -> None:
    with pytest.raises(DataError, match="did you mean 'sharded'"):
        partition(digits, 2, "shard")
    with pytest.raises(DataError, match="10 classes"):
        partition(digits, 11, "sharded")
