from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fusion_engine.embedding import umap as module
from fusion_engine.embedding import umap_coordinates

ROOT = Path(__file__).resolve().parents[2]


def clusters(each: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(each, 5)), rng.normal(size=(each, 5)) + 50])


def test_same_seed_same_picture_and_clusters_stay_apart() -> None:
    points = clusters()
    first, again = umap_coordinates(points, seed=3), umap_coordinates(points, seed=3)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert first.method == "umap"
    assert first.note == ""
    a, b = first.coordinates[:20], first.coordinates[20:]
    gap = np.linalg.norm(a.mean(0) - b.mean(0))
    assert gap > np.linalg.norm(a - a.mean(0), axis=1).max()


@pytest.mark.parametrize("total", [0, 1, 2, 3])
def test_too_few_neurons_get_principal_components(total: int) -> None:
    points = np.arange(total * 3, dtype=float).reshape(total, 3)
    found = umap_coordinates(points)
    assert found.method == "pca"
    assert found.coordinates.shape == (total, 2)
    assert "too few" in found.note


@pytest.mark.parametrize("total", [4, 5, 8])
def test_a_handful_of_neurons(total: int) -> None:
    found = umap_coordinates(np.random.default_rng(0).normal(size=(total, 3)))
    assert found.method == "umap"
    assert np.isfinite(found.coordinates).all()


def test_coinciding_neurons() -> None:
    assert umap_coordinates(np.ones((10, 3))).method == "pca"


def test_no_columns_at_all() -> None:
    assert umap_coordinates(np.ones((10, 0))).coordinates.shape == (10, 2)


def test_non_finite_neurons_are_left_out_and_said() -> None:
    points = clusters(5)
    points[3, 1], points[7, 0] = np.nan, np.inf
    found = umap_coordinates(points)
    assert found.index.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert "2 neurons with non-finite" in found.note


def test_many_neurons_are_sampled_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NEURONS", 30)
    found = umap_coordinates(clusters())
    assert len(found.coordinates) == len(found.index) == 30
    assert "30 of 40 neurons" in found.note
    np.testing.assert_array_equal(found.index, np.sort(found.index))


def test_three_dimensions_and_another_metric_are_other_pictures() -> None:
    points = clusters()
    flat, deep = umap_coordinates(points), umap_coordinates(points, dimensions=3)
    assert deep.coordinates.shape == (40, 3)
    other = umap_coordinates(points, metric="cosine")
    assert other.method == "umap"
    assert not np.allclose(flat.coordinates, other.coordinates)


def test_a_metric_that_is_undefined_on_the_points_falls_back_and_says_so() -> None:
    found = umap_coordinates(np.arange(20.0)[:, None], metric="correlation")
    assert found.method == "pca"
    assert "UMAP failed" in found.note


def test_search_trees_are_not_compiled() -> None:
    """pynndescent takes 13 s to import where numba has no cache; what stood in for it does not stay."""
    code = (
        "import sys, numpy; from fusion_engine.embedding import umap_coordinates;"
        "print(umap_coordinates(numpy.eye(20, 5)).method, 'pynndescent' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["umap", "False"]
