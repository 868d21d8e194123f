from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fusion_engine.stats import StatisticsCache


def put(cache: StatisticsCache, key: str, size: int = 50_000) -> None:
    with cache.claim(key) as claim:
        assert claim.found is None
        claim.keep({"a": np.arange(size, dtype=np.float64)}, {"all": 1.0})


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path, folder_mb=1)  # two of 400 kB
    for age, key in enumerate(("old", "older")):
        put(cache, key)
        os.utime(tmp_path / f"{key}.npz", (1e9 - age, 1e9 - age))
    assert StatisticsCache(tmp_path).find("older") is not None  # used now
    put(cache, "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.lock", "new.npz", "older.lock", "older.npz"]


def test_what_is_larger_than_the_folder_is_kept_in_memory_only(tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path, folder_mb=1)
    put(cache, "large", 200_000)
    assert list(tmp_path.glob("*.npz")) == []
    assert cache.find("large") is not None


def test_without_a_bound_all_is_kept(tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path)
    for key in "abcd":
        put(cache, key)
    assert len(list(tmp_path.glob("*.npz"))) == 4
