"""Streaming second moments of features, and what groupings and solvers read from them."""

from .batches import fitting_batch, sample_bytes
from .cache import StatisticsCache
from .conv_moments import ConvMoments
from .counted import counted_at, counted_rows, linear_rows
from .device import checked_device
from .moments import CrossAccumulator, GramAccumulator, Precision
from .parent_moments import (
    FeatureMoments,
    Moments,
    entry_key,
    feature_sites,
    grouping_sites,
    parent_moments,
    post_activation_sites,
    read_moments,
)
from .points import DIMENSIONS, Points, standard_error
from .rows import feature_rows, layer_rows
from .shared import SharedStatistics, Wanted
from .space_stats import SpaceStats
from .wide_stats import WideStats, space_stats

__all__ = [
    "DIMENSIONS", "ConvMoments", "CrossAccumulator", "FeatureMoments", "GramAccumulator", "Moments", "Points",
    "Precision", "SharedStatistics", "SpaceStats", "StatisticsCache", "Wanted", "WideStats", "checked_device",
    "counted_at", "counted_rows", "entry_key", "feature_rows", "feature_sites", "fitting_batch", "grouping_sites",
    "layer_rows", "linear_rows", "parent_moments", "post_activation_sites", "read_moments", "sample_bytes",
    "space_stats", "standard_error",
]  # fmt: skip
