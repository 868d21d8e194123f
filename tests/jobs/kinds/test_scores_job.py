"""The importance of all neurons by several methods, as a job."""

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.demo import load_demo
from fusion_engine.exploration.score_tables import offered_methods, ranks
from fusion_engine.graph import trace
from fusion_engine.importance import score
from fusion_engine.jobs.inputs import read_data
from fusion_engine.jobs.kinds import KINDS
from tests.jobs.job_runs import done, ended


@pytest.fixture
def demo() -> str:
    return str(store.read_result(done("import_parents", demo="digits"))["parents"])


def test_scores_are_those_of_the_methods_and_of_an_exploration(demo: str) -> None:
    run = done("scores", parents=demo, data="digits:train", samples=40, importances=["activation", "conductance"])
    assert store.read_result(run) == {"methods": ["activation", "conductance"], "skipped": {}}
    found = store.read_arrays(run, "scores.npz")
    parents, data = load_demo(), read_data("digits:train", 40)
    graph = trace(parents[0].model, (data.normalised(slice(0, 2)),))
    assert set(found) == {
        f"{m}|{s}|{p}" for m in ("activation", "conductance") for s in graph.spaces for p in range(len(parents))
    }
    for method in ("activation", "conductance"):
        for space, expected in score(graph, parents[2].state, data, method).items():
            if space != "output":
                np.testing.assert_allclose(found[f"{method}|{space}|2"], expected.numpy(), rtol=1e-5)
    explored = done("explore", parents=demo, data="digits:train", samples=40, importance="conductance")
    first = store.read_explore(explored)["spaces"][0]["name"]
    shown = store.read_arrays(explored, "explore.npz", "0/")
    np.testing.assert_array_equal(shown["importance"][shown["parent"] == 1], found[f"conductance|{first}|1"])


def test_names_that_are_no_method_are_refused_in_one_line(demo: str) -> None:
    _, status = ended("scores", parents=demo, data="digits:train", samples=20, importances=["conductence"])
    assert status["state"] == "failed"
    assert "did you mean 'conductance'" in str(status["error"])
    _, status = ended("scores", parents=demo, data="digits:train", samples=20, importances="activation")
    assert "must be a list of methods" in str(status["error"])


def test_what_is_offered_tells_neurons_apart() -> None:
    assert "activation" in offered_methods()
    assert "uniform" not in offered_methods()
    assert KINDS["scores"].cached
    assert KINDS["scores"].light


def test_equal_scores_share_the_better_rank() -> None:
    assert ranks(np.array([0.5, 2.0, 0.5, 0.1])).tolist() == [2, 1, 2, 4]
