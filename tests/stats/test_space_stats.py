"""Geometry of neurons read from moments equals the geometry of the features themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_engine.stats import SpaceStats

SIZES = (4, 3)


def make(rows: int = 50) -> tuple[SpaceStats, np.ndarray]:
    f = np.random.default_rng(0).normal(size=(rows, 7)) + np.arange(7)
    f[:, 5] = 2.0
    importance = tuple(np.ones(n) for n in SIZES)
    return SpaceStats("s", SIZES, f.T @ f, f.mean(0), rows, importance, 4), f


def test_distances_blocks_and_coordinates() -> None:
    stats, f = make()
    expected = ((f[:, :, None] - f[:, None, :]) ** 2).sum(0)
    np.testing.assert_allclose(stats.distances(), expected, atol=1e-9)
    points = stats.coordinates()
    np.testing.assert_allclose(points @ points.T, stats.gram, atol=1e-9)
    np.testing.assert_array_equal(stats.block(0, 1), (f.T @ f)[:4, 4:])
    assert np.shares_memory(stats.block(1, 1), stats.gram)


def test_correlation_ignores_constant_neurons() -> None:
    stats, f = make()
    alive = [0, 1, 2, 3, 4, 6]
    correlation = stats.correlation()
    np.testing.assert_allclose(correlation[np.ix_(alive, alive)], np.corrcoef(f[:, alive].T), atol=1e-10)
    assert not correlation[5].any()


def test_coordinates_have_no_more_dimensions_than_rows() -> None:
    stats, _ = make(rows=3)
    assert stats.coordinates().shape == (7, 3)
    assert stats.distances().min() >= 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        SpaceStats("s", (2, 2), np.eye(3), np.zeros(4), 1, (np.ones(2), np.ones(2)), 2)
