from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from fusion_engine.embedding import principal_coordinates


def test_equals_pca_of_the_points() -> None:
    points = np.random.default_rng(0).normal(size=(20, 7)) * np.arange(1, 8) + 5.0
    found = principal_coordinates(points @ points.T, components=5)
    oracle = PCA(5).fit(points)
    scores = oracle.transform(points)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(scores), atol=1e-8)
    np.testing.assert_allclose(found.variance, oracle.explained_variance_ratio_, atol=1e-10)


def test_all_components_keep_distances() -> None:
    points = np.random.default_rng(1).normal(size=(12, 4))
    c = principal_coordinates(points @ points.T).coordinates
    assert c.shape == (12, 4)
    for a, b in [(0, 1), (3, 9), (11, 2)]:
        assert np.linalg.norm(c[a] - c[b]) == pytest.approx(np.linalg.norm(points[a] - points[b]), abs=1e-9)


@pytest.mark.parametrize("total", [0, 1, 5])
def test_points_without_spread_have_no_coordinates(total: int) -> None:
    assert principal_coordinates(np.ones((total, total))).coordinates.shape == (total, 0)


def test_signs_are_fixed() -> None:
    points = np.random.default_rng(2).normal(size=(9, 3))
    c = principal_coordinates(points @ points.T).coordinates
    assert (c[np.abs(c).argmax(0), np.arange(c.shape[1])] > 0).all()


def test_non_finite_gram_is_refused() -> None:
    with pytest.raises(ValueError, match="non-finite"):
        principal_coordinates(np.full((3, 3), np.nan))
