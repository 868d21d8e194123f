"""Streaming second moments of features, and what groupings and solvers read from them."""

from .batches import fitting_batch, sample_bytes
from .capture import Captured, capture
from .moments import CrossAccumulator, GramAccumulator, Precision
from .parent_moments import (
    FeatureMoments,
    Moments,
    entry_key,
    feature_sites,
    grouping_sites,
    parent_moments,
    post_activation_sites,
)
from .rows import feature_rows, layer_rows
from .space_stats import SpaceStats

__all__ = [
    "Captured",
    "CrossAccumulator",
    "FeatureMoments",
    "GramAccumulator",
    "Moments",
    "Precision",
    "SpaceStats",
    "capture",
    "entry_key",
    "feature_rows",
    "feature_sites",
    "fitting_batch",
    "grouping_sites",
    "layer_rows",
    "parent_moments",
    "post_activation_sites",
    "sample_bytes",
]
