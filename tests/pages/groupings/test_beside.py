"""Two groupings beside each other: what changed, and the neurons that moved as a selection."""

from __future__ import annotations

import numpy as np
import pytest
import samples

from fusion_engine import store
from fusion_engine.store.files import write_bytes
from pages.components.groupings import beside

ADRIFT = np.array([0, 0, 0, 1, 1, -1])
ELSEWHERE = np.array([4, 4, 3, 3, 3, 3])


def test_neurons_in_no_group_are_not_compared() -> None:
    pair = beside.paired({"group": ADRIFT}, {"group": ELSEWHERE})
    assert pair.neurons.tolist() == [0, 1, 2, 3, 4]
    assert pair.second.tolist() == [4, 4, 3, 3, 3]


def test_what_became_of_each_group() -> None:
    pair = beside.paired({"group": ADRIFT}, {"group": ELSEWHERE})
    first, second = beside.changed_groups(pair, np.array([1.0, 1, 6, 1, 1]))
    assert first == {"group": 0, "like": 4, "kept": 2, "left": 1, "came": 0, "mass": pytest.approx(0.6)}
    assert second == {"group": 1, "like": 3, "kept": 2, "left": 0, "came": 1, "mass": pytest.approx(0.6)}


def test_a_group_whose_match_is_taken_has_none() -> None:
    pair = beside.paired({"group": np.array([0, 0, 1])}, {"group": np.array([5, 5, 5])})
    lone = next(e for e in beside.changed_groups(pair, np.ones(3)) if e["group"] == 1)
    assert (lone["like"], lone["kept"], lone["left"], lone["came"]) == (None, 0, 1, 0)


def test_the_picture_draws_all_neurons_of_the_groups_it_shows() -> None:
    chart = beside.flow_picture(beside.paired({"group": ADRIFT}, {"group": ELSEWHERE}), [0])
    link, label = chart.data[0].link, chart.data[0].node.label
    told = {(label[s], label[t]): v for s, t, v in zip(link.source, link.target, link.value, strict=True)}
    assert told == {("0", "3"): 1, ("0", "4"): 2}
    assert len(set(link.color)) == 2


def test_narrow_flows_are_drawn_as_one() -> None:
    pair = beside.paired({"group": np.zeros(9, int)}, {"group": np.array([0, 0, 0, 1, 1, 2, 3, 4, 5])})
    chart = beside.flow_picture(pair, [0])
    link, label = chart.data[0].link, chart.data[0].node.label
    assert [(label[t], v) for t, v in zip(link.target, link.value, strict=True)] == [
        ("0", 3), ("1", 2), ("2", 1), ("others", 3),
    ]


@pytest.fixture
def two_runs(filled):
    """A fusion, and an exploration in which neuron 1 of parent_1 is in the group of neuron 0."""
    fused = samples.add_fusion()
    other = samples.add_run("explore", {
        "parents": samples.PARENTS, "data": "digits:train", "seed": 0, "importance": "activation",
        "grouping": "average",
    })
    samples.add_exploration(other)
    arrays = {f"{i}/{k}": v for i in (0, 1) for k, v in samples.space_arrays().items()}
    for i in (0, 1):
        arrays[f"{i}/group"] = arrays[f"{i}/group"].copy()
        arrays[f"{i}/group"][7] = 0
    write_bytes(store.run_folder(other) / "explore.npz", samples.archive(arrays))
    return fused, other


def test_another_run_is_compared_and_what_moved_can_be_selected(open_page, two_runs) -> None:
    fused, other = two_runs
    app = open_page(
        "explore", parents=samples.PARENTS, data="digits:train", run=fused, view="pca", section="Beside another",
        beside=other, space="fc0",
    )
    assert not app.exception
    figures = " ".join(e.proto.body for e in app.get("html"))
    assert "<span>Neurons that moved</span><div>1 of 12</div>" in figures
    went = next(t.value for t in app.dataframe if "Mates changed" in t.value)
    assert went["Neuron"].tolist() == ["parent_1:1"]
    assert (went["Group here"].tolist(), went["Group there"].tolist()) == ([1], [0])
    app.button(key="beside-select").click().run()
    assert samples.url(app, "neurons") == "1:1"


def test_a_method_that_was_not_tried_is_asked_for(open_page, two_runs, submitted) -> None:
    fused, _ = two_runs
    app = open_page(
        "explore", parents=samples.PARENTS, data="digits:train", run=fused, view="pca", section="Beside another",
        space="fc0",
    )
    assert "explore" not in [kind for kind, _ in submitted]
    app.selectbox(key="beside-run").select("by:hungarian").run()
    assert not app.exception
    [arguments] = [arguments for kind, arguments in submitted if kind == "explore"]
    assert (arguments["importance"], arguments["grouping"]) == ("activation", "hungarian")
