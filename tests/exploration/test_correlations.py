"""The correlations that the heat map shows."""

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.exploration.correlations import read_correlations


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A function that keeps a covariance and importances as a run's and gives the run."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))

    def keep(covariance: np.ndarray | None, importance: list[float]) -> str:
        run = store.create_run("explore", {})
        folder = store.run_folder(run)
        np.savez(folder / "features.npz", **({} if covariance is None else {"3/covariance": covariance}))
        np.savez(folder / "explore.npz", **{"3/importance": importance})
        store.end_run(run, "done")
        return run

    return keep


def test_correlations_are_those_of_the_features(kept) -> None:
    features = np.random.default_rng(0).normal(size=(50, 7)) * np.arange(1, 8)
    index, found = read_correlations(kept(np.cov(features.T), [1.0] * 7), 3)
    assert index.tolist() == list(range(7))
    np.testing.assert_allclose(found, np.corrcoef(features.T), atol=1e-12)


def test_neurons_that_never_change_are_like_no_other(kept) -> None:
    _, found = read_correlations(kept(np.diag([2.0, 0.0]), [1.0, 1.0]), 3)
    np.testing.assert_allclose(found, [[1, 0], [0, 0]], atol=1e-12)


def test_of_more_neurons_the_most_important_are_shown_in_their_order(kept) -> None:
    true = np.array([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]])
    index, found = read_correlations(kept(true, [3.0, 1.0, 2.0]), 3, most=2)
    assert index.tolist() == [0, 2]
    np.testing.assert_allclose(found, [[1, 0.2], [0.2, 1]], atol=1e-12)


def test_a_run_that_has_kept_none(kept) -> None:
    assert read_correlations(kept(None, [1.0]), 3) is None
