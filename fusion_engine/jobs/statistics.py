"""What fusions of the same parents have in common, kept from job to job: tuning a recipe computes only what is new."""

import functools
from collections.abc import Sequence
from pathlib import Path

from fusion_engine import store
from fusion_engine.parents import Parent
from fusion_engine.stats import SharedStatistics, StatisticsCache

_FOLDER_MB = 1024


def statistics() -> StatisticsCache:
    """The store's cache: its folder is common to all workers, traces and recent arrays are this worker's."""
    return _cache(store.folder("statistics"))


def shared_statistics(parents: Sequence[Parent]) -> SharedStatistics:
    """The same, as one job about `parents` sees it."""
    return SharedStatistics(statistics(), known=[(parent.state, parent.digest) for parent in parents])


@functools.lru_cache(maxsize=1)
def _cache(folder: Path) -> StatisticsCache:
    return StatisticsCache(folder, folder_mb=_FOLDER_MB)
