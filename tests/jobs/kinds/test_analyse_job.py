from __future__ import annotations

import pytest

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.jobs.kinds import KINDS
from tests.jobs.job_runs import done, ended


@pytest.fixture
def demo() -> str:
    return str(store.read_result(done("import_parents", demo="digits_vgg"))["parents"])


def test_a_fusion_is_analysed_with_its_groupings(demo: str) -> None:
    fusion = done("fuse", parents=demo, data="digits:train", recipe="average", samples=50)
    run = done("analyse", parents=demo, data="digits:test", run=fusion, what=["budget", "coverage"], samples=60)
    found = store.read_result(run)
    assert (found["what"], found["samples"], found["fused"]) == (["coverage", "budget"], 60, True)
    assert found["budget"]["fused"]["accuracy"] == found["coverage"]["fused"]["accuracy"]
    assert {event["stage"] for event in client.events(run)} >= {"load", "trace", "coverage", "budget"}


def test_parents_alone(demo: str) -> None:
    found = store.read_result(done("analyse", parents=demo, data="digits:test", what=["similarity"], samples=40))
    assert found["what"] == ["similarity"]
    assert not found["fused"]


def test_what_cannot_be_done_is_said_in_a_line(demo: str) -> None:
    explored = done("explore", parents=demo, data="digits:train", samples=20)
    for more, message in (
        ({"run": explored}, "give the id of a fuse run"),
        ({"what": ["budget"]}, "needs a fused network"),
        ({"what": "budget"}, "must be a list"),
        ({"align": "kmeans", "what": ["connectivity"]}, "does not pair neurons"),
        ({"samples": 0}, "samples must be a whole number"),
    ):
        _, status = ended("analyse", parents=demo, data="digits:test", **more)
        assert status["state"] == "failed"
        assert message in status["error"]


def test_fusions_of_other_parents_are_refused(demo: str) -> None:
    mlps = str(store.read_result(done("import_parents", demo="digits"))["parents"])
    fusion = done("fuse", parents=demo, data="digits:train", recipe="average", samples=20)
    _, status = ended("analyse", parents=mlps, data="digits:test", run=fusion)
    assert "made of other parents" in status["error"]


def test_it_is_cached_and_left_to_the_heavy_workers() -> None:
    assert KINDS["analyse"].cached
    assert not KINDS["analyse"].light
