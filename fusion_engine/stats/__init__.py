"""Streaming second moments of features, and what groupings and solvers read from them."""

from .capture import Captured, capture
from .moments import CrossAccumulator, GramAccumulator, Precision
from .rows import feature_rows, layer_rows
from .space_stats import SpaceStats

__all__ = [
    "Captured",
    "CrossAccumulator",
    "GramAccumulator",
    "Precision",
    "SpaceStats",
    "capture",
    "feature_rows",
    "layer_rows",
]
