"""Data sets: reading, partitioning between parents, and calibration sampling."""

from .calibration import balanced_sample, canonical_order, check_calibration, check_samples, held_out
from .dataset import IGNORED, Dataset
from .load import load_data
from .npz import make_dataset, save_npz
from .partitions import REGIMES, partition

__all__ = [
    "IGNORED",
    "REGIMES",
    "Dataset",
    "balanced_sample",
    "canonical_order",
    "check_calibration",
    "check_samples",
    "held_out",
    "load_data",
    "make_dataset",
    "partition",
    "save_npz",
]
