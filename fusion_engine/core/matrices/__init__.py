"""Matrices that are not kept whole."""

from .lazy import LabelMatrices, label_matrices

__all__ = ["LabelMatrices", "label_matrices"]
