"""Passports as jobs: of a space, of where neurons look, and of what is lost without one."""

import numpy as np
import pytest

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.jobs.kinds import KINDS
from fusion_engine.jobs.service import tasks
from tests.jobs.job_runs import done, ended


@pytest.fixture
def demo() -> str:
    return str(store.read_result(done("import_parents", demo="digits_vgg"))["parents"])


def test_a_space_with_its_fused_network(demo: str) -> None:
    fusion = done("fuse", parents=demo, data="digits:train", recipe="average", samples=50)
    given = {"parents": demo, "data": "digits:train", "samples": 40, "space": "features.3", "run": fusion}
    run = done("passport", **given)
    info, arrays = store.read_result(run), store.read_arrays(run, "passport.npz")
    assert (info["sizes"], info["sampled"], info["kind"], info["fused"]) == ([32, 32], 40, "image", True)
    assert arrays["samples"].dtype == np.uint8
    labels = np.concatenate(store.read_groupings(fusion, "features.3")["features.3"].labels)
    np.testing.assert_array_equal(arrays["group"], labels)
    values, fused = arrays["values/parents"], arrays["values/fused"]
    np.testing.assert_array_equal(arrays["top_value"][40], np.sort(values[40])[::-1][:8])
    np.testing.assert_array_equal(arrays["fused_top"][40], fused[labels[40], arrays["top"][40]])
    assert arrays["fused_correlation"][40] == pytest.approx(np.corrcoef(values[40], fused[labels[40]])[0, 1], rel=1e-4)

    looked = done("passport", **given, neurons="0:3,parent_1:8")
    maps = store.read_arrays(looked, "passport.npz", "look/")
    assert store.read_result(looked)["how"] == {"0:3": "activation", "1:8": "activation"}
    np.testing.assert_allclose(maps["1:8"].reshape(8, -1).max(1), arrays["top_value"][40], rtol=1e-4)
    np.testing.assert_array_equal(maps["1:8"].reshape(8, -1).argmax(1), arrays["top_at"][40])

    lost = store.read_result(done("passport", **given, neurons="1:8", silence="mean", test="digits:test"))
    assert lost["group"] == labels[40]
    assert (lost["samples"], lost["on"]) == (539, "digits:test")
    report = store.read_result(done("evaluate", run=fusion, data="digits:test"))
    assert lost["fused"]["before"]["accuracy"] == pytest.approx(report["fused"]["accuracy"])
    assert lost["parent"]["before"]["loss"] != lost["parent"]["after"]["loss"]


def test_what_cannot_be_done_is_said_in_a_line(demo: str) -> None:
    for more, words in (
        ({"space": "features.33"}, "did you mean 'features.3'"),
        ({}, "space must be the name"),
        ({"space": "features.3", "neurons": "0:99"}, "neurons 0 to 31"),
        ({"space": "features.3", "neurons": "0:1-30"}, "1 to 16 neurons"),
        ({"space": "features.3", "neurons": "0:1", "silence": "one"}, "'mean' or 'zero'"),
        ({"space": "features.3", "neurons": "0:1,0:2", "silence": "mean"}, "one neuron"),
        ({"space": "features.3", "samples": 10_000}, "whole number from 1 to 5000"),
    ):
        _, status = ended("passport", parents=demo, data="digits:train", **more)
        assert status["state"] == "failed"
        assert words in str(status["error"])


def test_it_is_done_once(demo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KINDS["passport"].cached
    monkeypatch.setattr(client, "ensure_running", lambda wait=True: None)
    monkeypatch.setattr(client.connect, "owner", lambda: None)
    sent: list[str] = []
    monkeypatch.setattr(tasks, "send", lambda run, light, attempt=0: (sent.append(run), tasks.run_job(run)))
    given = {"parents": demo, "data": "digits:train", "samples": 20, "space": "features.0"}
    first = client.submit("passport", given)
    assert client.status(first)["state"] == "done"
    assert client.submit("passport", dict(given)) == first
    assert client.submit("passport", given | {"neurons": "0:1"}) != first
    assert len(sent) == 2
