"""Editing groups on the Explore page: runs of the demo parents, made once; jobs are done at once, in this process."""

import re

import pytest
import samples
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from tests.jobs.job_runs import done

RECIPE = {"importance": "activation", "grouping": "kmeans", "solver": "average"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory):
    """A store with the demo parents and a fusion of them: its id and theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("FUSION_SCHEDULER", raising=False)
        parents = store.read_result(done("import_parents", demo="digits"))["parents"]
        arguments = {"parents": parents, "data": "digits:train", "test": "digits:test", "samples": 60}
        run = done("fuse", **arguments, recipe=RECIPE)
        yield {"home": store.home(), "parents": parents, "run": run}


@pytest.fixture
def explore(lab, filled, open_page, monkeypatch):
    """explore(neuron='0:3') opens the fusion's first space with the section Edit open."""
    catalogue = (store.home() / "catalogue.json").read_bytes()
    monkeypatch.setenv("FUSION_HOME", str(lab["home"]))
    (store.home() / "catalogue.json").write_bytes(catalogue)
    monkeypatch.setattr(client, "submit", lambda kind, arguments: done(kind, **arguments))
    st.cache_data.clear()  # another test's store
    here = {"parents": lab["parents"], "run": lab["run"], "data": "digits:train", "test": "digits:test"}
    return lambda **url: open_page("explore", **here | {"view": "pca", "section": "Edit", "space": "fc1"} | url)


def press(app, key: str):
    return app.button(key=key).click().run()


def figures(app) -> dict[str, str]:
    return {m.label: m.value for m in app.metric}


def lines(app) -> list[str]:
    shown = (m.value.replace("\\", "") for m in app.markdown)
    return [line for line in shown if line.startswith(("fc1:", "fc2:"))]


def test_a_neuron_moves_is_previewed_undone_redone_and_dropped(explore) -> None:
    app = explore(neuron="0:3")
    assert app.button(key="edits-undo").disabled
    app = press(app, "edit-move")  # the second-best group is proposed
    assert not app.exception
    (line,) = lines(app)
    assert line.startswith("fc1: move parent_0:3 to the group of parent_")
    moved = figures(app)
    assert moved["Variance lost before"] != moved["after"]
    digest = samples.url(app, "edits")
    app = press(app, "edits-undo")
    assert lines(app) == []
    assert "edits" not in app.query_params
    app = press(app, "edits-redo")
    assert samples.url(app, "edits") == digest
    assert figures(app) == moved
    app = press(app, "edit-drop-0")
    assert lines(app) == []


def test_the_verdict_is_on_the_groups_after_the_edits(explore) -> None:
    def boxes(app) -> list[str]:
        return [box.value for kind in ("warning", "info", "success") for box in getattr(app, kind)]

    app = explore(neurons="0:1-20")
    (before,) = boxes(app)
    app = press(app, "edit-merge")
    assert not app.exception
    (after,) = boxes(app)
    alone = [int(re.search(r"(\d+) of 64 groups hold one neuron", text)[1]) for text in (before, after)]
    assert alone[1] < alone[0]
    assert any("after the edits" in c.value for c in app.caption)
    loses = next(c.value for c in app.caption if "merging loses" in c.value)
    cost = float(re.search(r"loses ([\d.]+)", loses)[1])
    assert cost == pytest.approx(float(figures(app)["after"].split("\u202f")[0]), abs=0.06)


def test_edited_groups_can_be_set_beside_those_that_were_found(explore, lab) -> None:
    app = press(explore(neuron="0:3"), "edit-move")
    edits = samples.url(app, "edits")
    app = explore(section="Beside another", beside=lab["run"])
    assert app.selectbox(key="beside-run").value is None  # without edits they are the same groups
    app = explore(section="Beside another", beside=lab["run"], edits=edits)
    assert not app.exception
    said = " ".join(e.proto.body for e in app.get("html"))
    assert "<span>Neurons that moved</span><div>1 of 256</div>" in said
    lost = re.search(r"Variance lost</span><div>(.*?) → (.*?)<", said)
    assert lost is not None
    assert lost[1] != lost[2]
    assert any(c.value.startswith("Here: with the edits.") for c in app.caption)


def test_who_opens_the_address_sees_the_same_edits(explore) -> None:
    digest = samples.url(press(explore(neuron="0:3"), "edit-pin"), "edits")
    other = explore(neuron="0:3", edits=digest)
    assert lines(other) == ["fc1: pin parent_0:3"]


def test_what_cannot_be_done_changes_nothing_and_is_one_line(explore) -> None:
    app = explore(neuron="0:3")
    free = int(figures(press(app, "edit-pin"))["Free slots"])
    assert free == 0  # k-means uses all: there is nowhere to split to
    app = press(explore(neuron="0:3"), "edit-split")
    assert "edits" not in app.query_params
    assert [e.value for e in app.error if "merge two first" in e.value]
    assert not app.exception


def test_merging_frees_a_slot_that_a_split_takes(explore) -> None:
    app = press(explore(neurons="0:3,1:5,2:7"), "edit-merge")
    freed = int(figures(app)["Free slots"])
    assert freed >= 1
    assert int(figures(press(app, "edit-split"))["Free slots"]) == freed - 1


def test_fusing_from_here_shows_accuracy_before_and_after(explore, lab) -> None:
    app = press(press(explore(neuron="0:3"), "edit-move"), "fuse-again")
    again = samples.url(app, "again")
    report = store.read_report(again)
    assert store.read_job(again)["arguments"]["from_run"] == lab["run"]
    assert [edit["space"] for edit in report["recipe"]["edits"]] == ["fc1"]
    shown = figures(app)
    assert shown["Accuracy before"] != "–"
    app = press(app, "show-again")
    assert samples.url(app, "run") == again
    assert "edits" not in app.query_params
    assert lines(app) == []


def test_edits_that_are_nowhere_are_one_line(explore) -> None:
    app = explore(edits="f" * 32)
    assert not app.exception
    assert any("names as edits" in e.value for e in [*app.error, *app.warning])
