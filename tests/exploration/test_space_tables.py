from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from fusion_engine.core.edits.lost import merge_error
from fusion_engine.core.types import Grouping
from fusion_engine.exploration.space_tables import space_tables
from fusion_engine.grouping import group
from fusion_engine.stats import Points, SpaceStats, WideStats


def stats_of(features: np.ndarray, sizes: tuple[int, ...]) -> SpaceStats:
    weights = np.arange(1.0, features.shape[1] + 1)
    cuts = np.cumsum(sizes)[:-1]
    return SpaceStats(
        space="fc", sizes=sizes, gram=features.T @ features, means=features.mean(0), count=len(features),
        importance=tuple(np.split(weights, cuts)), size=sizes[0],
    )


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(200, 4)) * [1, 2, 3, 4] + 1
    return np.concatenate([base, base[:, [2, 0, 3, 1]] + 0.01 * rng.normal(size=(200, 4))], 1)


@pytest.mark.parametrize("method", ["identity", "hungarian", "kmeans"])
def test_merge_error_is_what_the_features_lose(features: np.ndarray, method: str) -> None:
    stats = stats_of(features, (4, 4))
    grouping = group(stats, method)
    centred = features - features.mean(0)
    merge, unmerge = np.concatenate(grouping.merge, 1), np.concatenate(grouping.unmerge, 0)
    lost = centred - centred @ merge.T @ unmerge.T
    np.testing.assert_allclose(merge_error(stats.covariance, grouping), (lost**2).mean(0), atol=1e-9)


def test_tables_of_a_good_grouping(features: np.ndarray) -> None:
    stats = stats_of(features, (4, 4))
    tables = space_tables(stats, group(stats, "hungarian"))
    a = tables.arrays
    assert a["parent"].tolist() == [0] * 4 + [1] * 4
    assert a["neuron"].tolist() == [0, 1, 2, 3] * 2
    np.testing.assert_allclose(a["std"], features.std(0), rtol=1e-9)
    np.testing.assert_allclose(a["mean"], features.mean(0), rtol=1e-9)
    assert a["group_members"].tolist() == [[1, 1]] * 4
    assert a["neighbours"][:4, 0].tolist() == [5, 7, 4, 6]
    assert (a["correlation"][:, 0] > 0.999).all()
    assert (np.diff(a["correlation"], axis=1) <= 0).all()
    assert a["group_importance"].sum() == pytest.approx(36)
    assert tables.info["hard"] is True
    assert 0 <= tables.info["error"] < 1e-3
    assert tables.info["variance"] == sorted(tables.info["variance"], reverse=True)
    coordinates = tables.features["coordinates"]
    gaps = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=2) ** 2
    np.testing.assert_allclose(gaps, stats.distances() / stats.count, atol=1e-4)


def test_identity_loses_more_on_permuted_parents(features: np.ndarray) -> None:
    stats = stats_of(features, (4, 4))
    identity = space_tables(stats, group(stats, "identity")).info["error"]
    assert identity > 100 * space_tables(stats, group(stats, "hungarian")).info["error"]


def test_soft_groupings_and_neurons_in_no_group(features: np.ndarray) -> None:
    stats = stats_of(features, (4, 4))
    merge = np.zeros((4, 8))
    merge[0, :3], merge[1, 3:7] = [0.2, -0.9, 0.1], 0.25
    merge[2, 2] = -0.5
    soft = Grouping("fc", "cca", (merge[:, :4], merge[:, 4:]), (np.eye(4), np.eye(4)))
    tables = space_tables(stats, soft)
    assert tables.arrays["group"].tolist() == [0, 0, 2, 1, 1, 1, 1, -1]
    assert tables.arrays["group_members"].sum() == 7
    assert tables.info["hard"] is False
    assert np.isfinite(tables.arrays["group_error"]).all()


def test_one_neuron_has_no_neighbours() -> None:
    stats = stats_of(np.random.default_rng(1).normal(size=(9, 1)), (1,))
    tables = space_tables(stats, group(stats, "identity"))
    assert tables.arrays["neighbours"].tolist() == [[-1] * 15]
    assert tables.arrays["pca"].tolist() == [[0.0, 0.0, 0.0]]


def test_dead_neurons_cost_nothing() -> None:
    features = np.zeros((10, 4))
    tables = space_tables(stats_of(features, (2, 2)), group(stats_of(features, (2, 2)), "identity"))
    assert tables.info["error"] == 0
    assert tables.arrays["group_error"].tolist() == [0, 0]


@pytest.mark.parametrize("method", ["kmeans", "permutation", "cca"])
def test_tables_of_a_wide_space_are_those_of_others(features: np.ndarray, method: str) -> None:
    features = features.astype(np.float32).astype(np.float64)
    features[:, 1] = 3.0  # never varies
    dense = stats_of(features, (4, 4))
    common = {f.name: getattr(dense, f.name) for f in fields(dense) if f.name not in ("gram", "held")}
    wide = WideStats(**common, points=Points(features.T.astype(np.float32), np.ones(len(features))))
    grouping = group(dense, method)
    one, other = space_tables(dense, grouping), space_tables(wide, grouping)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        if name != "neighbours":  # of neurons that vary with none the order is chance
            np.testing.assert_allclose(other.arrays[name], array, atol=2e-5, err_msg=name)
    assert (one.arrays["neighbours"][0, :3] == other.arrays["neighbours"][0, :3]).all()
    np.testing.assert_allclose(other.features["coordinates"], one.features["coordinates"], atol=1e-5)
    assert other.info["variance"] == pytest.approx(one.info["variance"], abs=1e-6)
    assert other.info["error"] == pytest.approx(one.info["error"], abs=1e-6)
