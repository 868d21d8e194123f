"""Streaming second moments of features, and what groupings and solvers read from them."""

from .moments import CrossAccumulator, GramAccumulator, Precision
from .space_stats import SpaceStats

__all__ = ["CrossAccumulator", "GramAccumulator", "Precision", "SpaceStats"]
