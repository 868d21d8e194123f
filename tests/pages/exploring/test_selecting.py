"""Selections on the Explore page: in the address, by rule, by typing, under another grouping, named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import samples
import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.store.files import write_bytes, write_json


@pytest.fixture
def explore(open_page, filled, monkeypatch):
    """explore(neurons='0:1') opens the page; under the grouping `identity` neurons are in other groups."""

    def submit(kind: str, arguments: dict) -> str:
        run = samples.add_run(kind, arguments, "done" if kind == "explore" else "queued")
        if kind == "explore":
            samples.add_exploration(run)
            if arguments["grouping"] == "identity":
                arrays = {f"{i}/{k}": v for i in (0, 1) for k, v in samples.space_arrays().items()}
                for space in (0, 1):
                    arrays[f"{space}/group"] = np.arange(12) // 2
                write_bytes(store.run_folder(run) / "explore.npz", samples.archive(arrays))
        return run

    monkeypatch.setattr(client, "submit", submit)
    st.cache_data.clear()  # another test's store
    here = {"parents": samples.PARENTS, "data": "digits:train", "view": "pca", "space": "fc0"}
    return lambda **url: open_page("explore", **here | url)


def drawn(app) -> dict:
    """What the plane was told."""
    points, plane = (json.loads(element.proto.json) for element in app.get("bidi_component"))
    assert points["content"] == plane["content"]
    return plane | {"points": points["points"]}


def rows(app) -> list[str]:
    return next((t.value["Neuron"].tolist() for t in app.dataframe if "Labels" in t.value), [])


def press(app, label: str):
    return next(b for b in app.button if b.label == label).click().run()


def test_the_address_says_what_is_selected_and_looked_at(explore) -> None:
    app = explore(neurons="0:3-4,1:1", neuron="1:1")
    assert (drawn(app)["selected"], drawn(app)["focus"]) == ([3, 4, 7], 7)
    assert rows(app) == ["parent_0:3", "parent_0:4", "parent_1:1"]
    assert app.selectbox(key="neuron-choice").value == 7


def test_neurons_stay_selected_when_the_method_changes_and_show_their_groups_there(explore) -> None:
    app = explore(neurons="0:3,1:1", neuron="1:1", group="1:1")
    assert drawn(app)["colour"]["names"] == ["group 1"]
    app.selectbox(key="explore-grouping").select("identity").run()
    assert not app.exception
    assert drawn(app)["selected"] == [3, 7]
    assert drawn(app)["focus"] == 7
    assert drawn(app)["colour"]["names"] == ["group 3"], "the group that the neuron is in now"


def test_the_group_of_a_neuron_is_shown_alone_and_all_again(explore) -> None:
    app = explore(neuron="1:1", colour="parent")
    press(app, "Show only its group")
    assert not app.exception
    assert (samples.url(app, "group"), drawn(app)["colour"]["names"]) == ("1:1", ["group 1"])
    press(app, "Show all groups")
    assert samples.url(app, "group") is None
    assert len(drawn(app)["colour"]["names"]) == 6
    assert next(b for b in explore().button if b.label == "Show only its group").disabled


def test_another_space_starts_without_a_selection(explore) -> None:
    app = explore(neurons="0:3", neuron="0:3", group="0:3")
    app.selectbox(key="explore-space").select("fc1").run()
    assert drawn(app)["selected"] == []
    assert all(samples.url(app, key) is None for key in ("neurons", "neuron", "group"))


@pytest.mark.parametrize(
    ("rule", "expected"), [("Invert", "0:0-2,0:4-5,1:0,1:2-5"), ("Whole groups", "0:1,0:3,1:1,1:3"), ("Clear", None)]
)
def test_rules_go_to_the_address(explore, rule: str, expected: str | None) -> None:
    app = press(explore(neurons="0:3,1:1"), rule)
    assert not app.exception
    assert samples.url(app, "neurons") == expected


def test_typed_neurons_are_selected_and_errors_are_one_line(explore) -> None:
    app = explore(neurons="0:3")
    box = next(t for t in app.text_area if t.label == "Neurons, typed or pasted")
    assert box.value == "parent_0:3"
    box.set_value("parent_1:2-4, 0:5")
    press(app, "Select these")
    assert samples.url(app, "neurons") == "0:5,1:2-4"
    box = next(t for t in app.text_area if t.label == "Neurons, typed or pasted")
    box.set_value("parent_0:9")
    press(app, "Select these")
    assert [e.value for e in app.error] == ["'parent\\_0\\:9'\\: parent\\_0 has neurons 0 to 5 here"]
    assert samples.url(app, "neurons") == "0:5,1:2-4", "what is wrong changes nothing"


@pytest.mark.parametrize("neurons", ["0:2,1:6", "nonsense", "@" + "f" * 32, "0:1,5:0"])
def test_an_address_that_does_not_fit_is_told_in_one_line(explore, neurons: str) -> None:
    app = explore(neurons=neurons)
    assert len(app.warning) == 1
    assert not app.error
    assert drawn(app)["selected"] in ([2], [])


def test_a_selection_too_long_for_an_address_is_kept_by_the_store(explore, monkeypatch) -> None:
    monkeypatch.setattr("pages.components.neurons.selection._LONGEST", 12)
    app = press(explore(neurons="0:3,1:1"), "Invert")
    kept = samples.url(app, "neurons")
    assert kept.startswith("@")
    assert drawn(app)["selected"] == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    again = explore(neurons=kept)
    assert drawn(again)["selected"] == drawn(app)["selected"]


def test_addresses_of_earlier_versions_are_read(explore) -> None:
    assert drawn(explore(neuron="7"))["focus"] == 7


def test_colours_and_hidden_parents_come_from_the_address(explore) -> None:
    app = explore(colour="lost", hidden="1")
    assert drawn(app)["colour"]["kind"] == "scale"
    assert drawn(app)["hidden"] == [1]
    assert drawn(explore(hidden="0,1,7,x"))["hidden"] == [], "one parent is always shown"


def test_scores_of_a_finished_job_can_be_shown(explore) -> None:
    run = samples.add_run("scores", {"parents": samples.PARENTS, "data": "digits:train"})
    scores = {f"taylor|fc0|{p}": np.arange(6.0) + 10 * p for p in (0, 1)}
    write_bytes(store.run_folder(run) / "scores.npz", samples.archive(scores))
    colour = drawn(explore(colour="score:taylor"))["colour"]
    assert (colour["title"], colour["low"], colour["high"]) == ("Importance by taylor", 0.0, 15.0)


def test_preferred_classes_of_a_finished_passport_can_be_shown(explore) -> None:
    run = samples.add_run("passport", {"parents": samples.PARENTS, "data": "digits:train", "space": "fc0"})
    preferred = np.array([3, 0, 3, 3, 7, 7, 3, 0, 0, 7, 3, 3])
    write_bytes(store.run_folder(run) / "passport.npz", samples.archive({"preferred": preferred}))
    write_json(store.run_folder(run) / "result.json", {"labelled": True, "sizes": [6, 6]})
    colour = drawn(explore(colour="class"))["colour"]
    assert colour["names"] == ["class 0", "class 3", "class 7"]
    st.cache_data.clear()
    write_json(store.run_folder(run) / "result.json", {"labelled": True, "sizes": [6, 5]})
    assert drawn(explore(colour="class"))["colour"]["title"] == "Groups", "another network's"


def test_a_selection_gets_a_name_that_stays_and_goes(explore) -> None:
    app = explore(neurons="0:3-4")
    app.text_input(key="label-name").set_value("edges")
    press(app, "Give the name")
    assert not app.exception
    assert drawn(app)["labels"] == [["edges", [3, 4]]]
    table = next(t.value for t in app.dataframe if "Labels" in t.value)
    assert table["Labels"].tolist() == ["edges", "edges"]
    assert drawn(explore())["labels"] == [["edges", [3, 4]]]
    press(app, "Remove the label")
    assert drawn(app)["labels"] == []
    app.text_input(key="label-name").set_value("x" * 100)
    press(app, "Give the name")
    assert [e.value for e in app.error] == ["a label has 1 to 80 characters on one line"]


def test_layout_parameters_go_to_the_address(explore) -> None:
    app = explore()
    app.number_input(key="umap-neighbours").set_value(30)
    app.selectbox(key="umap-dimensions").set_value(3)
    press(app, "Draw")
    assert not app.exception
    assert samples.url(app, "umap") == "30,0.1,euclidean,3,0"
    assert "z" in json.loads(drawn(app)["points"])["columns"]


def test_layout_parameters_are_asked_of_the_job(open_page, filled, submitted) -> None:
    run = samples.add_fusion()
    open_page(
        "explore", parents=samples.PARENTS, data="digits:train", run=run, view="umap", space="fc0",
        umap="30,0.1,cosine,3,0",
    )
    asked = [arguments for kind, arguments in submitted if kind == "embed"]
    assert asked == [{"run": run, "space": "fc0", "neighbours": 30, "metric": "cosine", "dimensions": 3}]
