"""Analyses of parents and fused networks: why a fusion is good or bad. One analysis a file."""

from .alignment import align, pairing_methods
from .analyse import WHAT, Fused, analyse
from .connectivity import Connectivity, Path, connectivity, interpolate
from .coverage import coverage
from .difference import compare_networks, difference
from .error_budget import ErrorBudget, error_budget
from .similarity import SpaceSimilarity, similarity

__all__ = [
    "WHAT", "Connectivity", "ErrorBudget", "Fused", "Path", "SpaceSimilarity", "align", "analyse", "compare_networks",
    "connectivity", "coverage", "difference", "error_budget", "interpolate", "pairing_methods", "similarity",
]  # fmt: skip
