from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.spatial.distance import cdist

from fusion_engine.embedding.fuzzy_graph import METRICS, fuzzy_graph


def by_hand(points: np.ndarray, neighbours: int, metric: str) -> np.ndarray:
    """The paper's definition, a point at a time."""
    distances = cdist(points, points, "cityblock" if metric == "manhattan" else metric)
    directed = np.zeros_like(distances)
    for i, row in enumerate(distances):
        row = np.where(np.arange(len(row)) == i, np.inf, row)
        near = np.argsort(row)[: neighbours - 1]
        beyond = row[near] - row[near].min()
        width = brentq(lambda w, b=beyond: np.exp(-b / w).sum() - np.log2(neighbours), 1e-6, 1e6)
        directed[i, near] = np.exp(-beyond / width)
    return directed + directed.T - directed * directed.T


@pytest.mark.parametrize("metric", METRICS)
def test_memberships_are_those_of_the_paper(metric: str) -> None:
    points = np.random.default_rng(0).normal(size=(40, 5))
    graph = fuzzy_graph(points, 7, metric)
    np.testing.assert_allclose(graph.toarray(), by_hand(points, 7, metric), atol=1e-5)


def test_neurons_that_coincide_are_as_close_as_can_be() -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 3, axis=0)
    graph = fuzzy_graph(points, 5).toarray()
    assert np.isfinite(graph).all()
    assert graph[0, 1] == graph[0, 2] == 1
    assert (graph.diagonal() == 0).all()
