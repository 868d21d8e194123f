"""Explore: the verdict before the charts, and the table of groups."""

from __future__ import annotations

import numpy as np
import pytest
import samples
from scipy.stats import spearmanr

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.store.files import write_bytes, write_json
from pages.components.groupings import group_table, network_map, scores_view


@pytest.fixture
def explore(open_page, filled):
    run = samples.add_fusion()

    def open_explore(**parameters: str):
        return open_page(
            "explore", parents=samples.PARENTS, data="digits:train", run=run, view="pca", **parameters
        )

    return open_explore


def button(app, label: str):
    return next(b for b in app.button if b.label == label)


def groups_of(app):
    return next(t.value for t in app.dataframe if "Flags" in t.value)


def test_the_verdict_is_said_with_its_severity(explore) -> None:
    app = explore(space="fc0")
    assert app.info[0].value.startswith("**Grouped fairly:** 0 of 6 groups hold one neuron")


def test_the_costliest_group_is_one_click_away(explore) -> None:
    app = explore(space="fc0")
    button(app, "Costliest group: 4").click().run()
    assert not app.exception
    assert samples.url(app, "neurons") == "0:4,1:4"
    assert samples.url(app, "group") in ("0:4", "1:4")


def test_the_worst_served_neuron_is_one_click_away(explore) -> None:
    app = explore(space="fc0")
    button(app, "Worst served: parent\\_1\\:3").click().run()
    assert samples.url(app, "neuron") == "1:3"


def test_the_worst_space_of_the_network_is_one_click_away(explore) -> None:
    app = explore(space="fc0")
    assert any("2 of 2 spaces are grouped fairly" in m.value for m in app.markdown)
    button(app, "Open fc1").click().run()
    assert app.selectbox(key="explore-space").value == "fc1"


def test_the_worst_space_is_the_one_that_opens(explore) -> None:
    assert explore().selectbox(key="explore-space").value == "fc1"


def test_a_space_that_is_grouped_better_is_not_among_the_worst(explore, monkeypatch) -> None:
    whole = samples.explore_json()
    whole["spaces"][0]["verdict"] = {**whole["spaces"][0]["verdict"], "severity": "good"}
    monkeypatch.setattr(samples, "explore_json", lambda: whole)
    app = explore(space="fc1")
    app.query_params["run"] = samples.add_fusion()
    labels = [b.label for b in app.run().button]
    assert "Open fc1" in labels
    assert "Open fc0" not in labels


def test_a_run_without_a_verdict_says_so(explore, monkeypatch) -> None:
    whole = samples.explore_json()
    for space in whole["spaces"]:
        del space["verdict"]
    del whole["verdict"]
    monkeypatch.setattr(samples, "explore_json", lambda: whole)
    run = samples.add_fusion()
    app = explore()
    assert app.info
    app.query_params["run"] = run
    app.run()
    assert not app.info
    assert any("kept no verdict" in c.value for c in app.caption)


def test_groups_are_found_by_a_neuron(explore) -> None:
    app = explore(section="Groups")
    assert len(groups_of(app)) == 6
    app.text_input(key="groups-search").set_value("parent_1:3, 0:5").run()
    assert sorted(groups_of(app)["Group"]) == [3, 5]
    assert samples.url(app, "holding") == "parent_1:3, 0:5"
    app.text_input(key="groups-search").set_value("parent_9:3").run()
    assert "parent" in app.error[0].value


def test_who_opens_the_address_sees_the_same_groups(explore) -> None:
    app = explore(section="Groups", only="worst,nonsense", holding="0:4, 0:5", space="fc0")
    assert app.button_group(key="groups-wanted").value == ["worst"]
    assert set(groups_of(app)["Group"]) <= {4, 5}
    app.button_group(key="groups-wanted").set_value([]).run()
    assert "only" not in app.query_params
    assert sorted(groups_of(app)["Group"]) == [4, 5]
    app.selectbox(key="explore-space").select("fc1").run()  # other neurons: the search is for these no longer
    assert "holding" not in app.query_params
    assert app.text_input(key="groups-search").value == ""


ARRAYS = {
    "importance": np.array([4, 1, 1, 1, 1, 2.0]), "group": np.array([0, 0, 1, 1, 0, 2]),
    "group_members": np.array([[2, 1], [0, 2], [0, 1], [0, 0]]), "group_importance": np.array([6, 2, 2, 0.0]),
    "group_error": np.array([0.1, 0.5, 0, 0]),
}


def test_flags_say_what_a_group_is() -> None:
    said = {name: np.flatnonzero(which).tolist() for name, which in group_table.flags(ARRAYS).items()}
    assert said == {
        "mixed": [0], "one parent": [1, 2], "several of one parent": [0, 1], "single neuron": [2], "empty": [3],
        "worst": [0, 1],
    }


def test_groups_are_listed_by_what_they_cost() -> None:
    assert group_table.cost(ARRAYS).tolist() == pytest.approx([0.06, 0.1, 0, 0])
    assert group_table.listed(ARRAYS, []).tolist() == [1, 0, 2, 3]
    assert group_table.listed(ARRAYS, ["one parent", "several of one parent"]).tolist() == [1]
    assert group_table.listed(ARRAYS, [], [0, 5]).tolist() == [0, 2]


def test_the_map_opens_a_space_and_is_coloured_by_choice(explore, monkeypatch) -> None:
    app = explore(space="fc0")
    app.selectbox(key="network-map-by").select("mixed").run()
    assert not app.exception
    assert samples.url(app, "map") == "mixed"
    monkeypatch.setattr(network_map, "clicked", lambda key: 1)
    opened = {}
    monkeypatch.setattr(network_map.state, "put", lambda **values: opened.update(values))
    network_map._open(network_map.cells(samples.explore_json()["spaces"]))
    assert opened == {"space": "fc1"}


def test_scores_are_set_beside_each_other(explore, monkeypatch) -> None:
    run = samples.add_run("scores", {"parents": samples.PARENTS, "data": "digits:train", "seed": 0})
    values = {"activation": np.arange(12.0), "deeplift": np.r_[11.0, np.arange(1, 11.0), 0]}
    arrays = {f"{m}|fc0|{p}": half for m, v in values.items() for p, half in enumerate(np.split(v, 2))}
    write_bytes(store.run_folder(run) / "scores.npz", samples.archive(arrays))
    write_json(store.run_folder(run) / "result.json", {"methods": list(values), "skipped": {"other": "it is <slow>"}})
    monkeypatch.setattr(client, "submit", lambda kind, arguments: run)
    app = explore(space="fc0", section="Scores")
    assert not app.exception
    agreement = next(t.value for t in app.dataframe if "Method" in t.value)
    wanted = spearmanr(*values.values()).statistic
    assert agreement.iloc[0, 2] == pytest.approx(wanted)
    differ = next(t.value for t in app.dataframe if "Apart" in t.value)
    assert differ["Neuron"].tolist()[:2] == ["parent_0:0", "parent_1:5"]
    assert differ["Apart"].tolist()[:3] == [11, 11, 0]
    assert any("it is \\<slow\\>" in c.value for c in app.caption)


def test_differences_of_rank_come_furthest_first() -> None:
    order, a, b = scores_view.most_different(np.array([3.0, 2, 1]), np.array([0.1, 0.3, 0.2]))
    assert (order.tolist(), a.tolist(), b.tolist()) == ([0, 1, 2], [1, 2, 3], [3, 1, 2])
