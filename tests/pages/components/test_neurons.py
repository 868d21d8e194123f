"""What is selected, how it is written, and what colours say, on the arrays of a small space."""

from __future__ import annotations

import json

import numpy as np
import pytest
import samples

from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import Neuron
from fusion_engine.embedding import METRICS
from pages.components.neurons import exports, near, picking, selection
from pages.components.plane import colouring, component, projection
from pages.components.shared.space import SpaceView


@pytest.fixture
def view() -> SpaceView:
    """Two parents of six neurons; groups: 0 mixed (0:0, 1:0), 1 of one parent (0:1-3), 2 alone (0:4), none (0:5)."""
    arrays = samples.space_arrays()
    arrays["group"] = np.array([0, 1, 1, 1, 2, -1, 0, 3, 3, 3, 3, 3])
    arrays["group_members"] = np.array([[1, 1], [3, 0], [1, 0], [0, 5]])
    arrays["importance"] = np.arange(12, 0, -1) / 12
    arrays["group_importance"] = np.bincount(arrays["group"][arrays["group"] >= 0], minlength=4).astype(float)
    arrays["group_error"] = np.array([0.5, 0.0, 0.0, 0.1])
    return SpaceView("run", {"name": "fc1", "index": 1}, ["one", "two"], arrays)


def test_neurons_and_places_in_the_arrays(view: SpaceView) -> None:
    assert view.sizes == [6, 6]
    assert [view.index_of(view.neuron_of(i)) for i in range(12)] == list(range(12))
    assert view.label(7) == "two:1"
    with pytest.raises(FusionError, match="no neuron 1:6"):
        view.index_of(Neuron(1, 6))


def test_a_selection_is_written_in_ranges_and_read_back(view: SpaceView) -> None:
    chosen = [0, 2, 3, 4, 5, 6, 11]
    assert selection.written(view, chosen) == "0:0,0:2-5,1:0,1:5"
    assert selection.read(view, selection.written(view, chosen)).tolist() == chosen
    assert selection.written(view, [5, 6], view.names) == "one:5,two:0"
    assert selection.read(view, "one:5 two:0").tolist() == [5, 6]
    assert selection.written(view, []) == ""
    spaced = SpaceView(view.run, view.space, ["a net (1)", "a net (2)"], view.arrays)
    assert selection.read(spaced, selection.written(spaced, chosen, spaced.names)).tolist() == chosen


def test_rules(view: SpaceView) -> None:
    assert picking.most_important(view).tolist() == list(range(10))
    assert picking.singletons(view).tolist() == [4]
    assert picking.single_parent(view).tolist() == [1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert picking.worst_merged(view).tolist() == [0, 6, 7, 8, 9, 10, 11]


def test_nearest_neurons_across_and_within(view: SpaceView) -> None:
    every, _ = near.nearest(view, 3)
    assert every.tolist() == [4, 5, 6, 7, 8]
    assert near.nearest(view, 3, "own")[0].tolist() == [4, 5]
    across, correlation = near.nearest(view, 3, "other")
    assert across.tolist() == [6, 7, 8]
    assert (np.diff(correlation) < 0).all()


def shown() -> projection.Projection:
    return projection.Projection(np.ones((11, 2)), np.arange(11), ("PC 1", "PC 2"), "", "")


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_what_is_exported_can_be_read_back(view: SpaceView, ending: str) -> None:
    chosen = np.array([1, 5, 8, 11])
    labels = [("=edges", np.array([5, 8]))]
    content = {"csv": exports.as_csv, "json": exports.as_json}[ending](view, chosen, labels, shown())
    assert exports.read_file(view, f"x.{ending}", content).tolist() == chosen.tolist()
    other = SpaceView(view.run, {"name": "fc9", "index": 0}, view.names, view.arrays)
    with pytest.raises(FusionError, match="neurons of space 'fc1'"):
        exports.read_file(other, f"x.{ending}", content)
    if ending == "csv":
        assert "'=edges" in content.decode()
    else:
        row = json.loads(content)["neurons"][1]
        assert (row["neuron"], row["group"], row["labels"], row["PC 1"]) == ("one:5", -1, "=edges", 1.0)
        assert json.loads(content)["neurons"][3]["PC 1"] is None, "this one was not drawn"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", b"x,y\n1,2\n", "no column 'index'"),
        ("a.csv", b"parent_number,index\n0,6\n", "one has neurons 0 to 5"),
        ("a.csv", b"parent_number,index\n0\n", "is not a neuron"),
        ("a.json", b"{", "no JSON"),
        ("a.json", b'{"neurons": 3}', "no list 'neurons'"),
        ("a.json", b'[{"parent_number": 0}]', "is not a neuron"),
        ("a.txt", b"\xff\xfe\x00", "no text"),
        ("a.txt", b"three:1", "no parent 'three'"),
    ],
)
def test_a_file_that_is_no_selection_is_one_line(view: SpaceView, name: str, content: bytes, why: str) -> None:
    with pytest.raises(FusionError, match=why) as refused:
        exports.read_file(view, name, content)
    assert "\n" not in str(refused.value)


def test_file_names_come_from_parents_and_space(view: SpaceView) -> None:
    assert exports.stem("../my set: 4 x mlp", view) == "my-set-4-x-mlp_fc1_neurons"


def test_colours_say_the_most_important_groups(view: SpaceView) -> None:
    found = colouring.by_group(view.arrays, [3])
    assert found.values.tolist() == [-1] * 7 + [0] * 5
    assert found.names == ["group 3"]
    assert found.other == "3 other groups, or none"
    every = colouring.by_group(view.arrays)
    assert (every.values[5], every.other) == (-1, "no group")
    assert every.names[0] == "group 3"


def test_neurons_in_no_group_lose_nothing_that_is_known(view: SpaceView) -> None:
    lost = colouring.lost_by_group(view.arrays)
    assert lost[[0, 7]].tolist() == [50, 10]
    assert np.isnan(lost[5])
    assert colouring.by_number("lost", lost).other == "none"


def test_the_most_frequent_classes_have_colours_of_their_own() -> None:
    found = colouring.by_class("class", np.array([9, 9, *range(9)]))
    assert found.names[-1] == "class 9"
    assert len(found.names) == 8
    assert found.values[:3].tolist() == [7, 7, 0]
    assert (found.values == -1).sum() == 2
    assert found.other == "other classes"


def test_points_are_packed_as_the_browser_reads_them(view: SpaceView) -> None:
    import base64

    index = np.array([2, 9])
    text = component.packed_points(np.array([[1.0, 2.0], [3.0, 4.5]]), index, view.arrays, view.names, ("a", "b"))
    columns = json.loads(text)["columns"]
    read = {
        name: np.frombuffer(base64.b64decode(packed), f"<{kind}").tolist() for name, (kind, packed) in columns.items()
    }
    assert read["x"] == [1.0, 3.0]
    assert read["y"] == [2.0, 4.5]
    assert (read["index"], read["parent"], read["neuron"], read["group"]) == ([2, 9], [0, 1], [2, 3], [1, 3])
    assert "z" not in read


def test_streamlit_ships_the_plotly_that_the_plane_draws_with() -> None:
    import streamlit

    folder = component.Path(streamlit.__file__).parent / "static" / "static" / "js"
    assert "window.Plotly=" in (folder / component.plotly_chunk()).read_text()


def test_layout_parameters_are_written_and_only_others_than_the_defaults_are_asked_for() -> None:
    changed = projection.Parameters(30, 0.25, "cosine", 3, 7)
    assert changed.written() == "30,0.25,cosine,3,7"
    assert projection.Parameters().written() is None
    assert projection.Parameters(neighbours=30).arguments() == {"neighbours": 30}
    assert projection.METRICS == METRICS
