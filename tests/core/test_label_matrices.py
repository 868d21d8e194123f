"""Matrices made from labels when they are read are the matrices that would be kept."""

import numpy as np

from fusion_engine.core.matrices import LabelMatrices, label_matrices
from fusion_engine.core.matrices import lazy as module
from fusion_engine.core.types import Grouping


def test_made_matrices_are_the_kept_ones(monkeypatch) -> None:
    labels = [np.array([2, 0, 1, 0]), np.array([1, 1, 2])]
    values = [np.array([0.5, 0.25, 0.5, 0.75]), np.array([0.0, 0.5, 0.5])]
    kept = label_matrices(labels, values, 3)
    monkeypatch.setattr(module, "_KEPT", 1)
    made = label_matrices(labels, values, 3)
    assert isinstance(kept[0], tuple)
    for one, other in zip(kept, made, strict=True):
        assert isinstance(other, LabelMatrices)
        assert len(one) == len(other)
        for p, matrix in enumerate(one):
            np.testing.assert_array_equal(other[p], matrix)
            assert other.shape(p) == matrix.shape
            rows, columns, found = other.entries(p)
            np.testing.assert_array_equal(np.stack([rows, columns]), np.stack(np.nonzero(matrix)))
            np.testing.assert_array_equal(found, matrix[rows, columns])
            np.testing.assert_array_equal(other.only(p)[0], matrix)
    grouping = Grouping("s", "kmeans", *made)
    assert (grouping.size, grouping.widths) == (3, (4, 3))
