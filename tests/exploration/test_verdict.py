"""What is said of a grouping, against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_engine.exploration.verdict import network_verdict, verdict


def arrays(group: list[int], groups: int, *, error: list[float], lost: list[float], importance: list[float]) -> dict:
    """Two parents with half of the neurons each."""
    half = len(group) // 2
    parent, index = np.repeat([0, 1], half), np.array(group)
    members = np.zeros((groups, 2), np.int64)
    np.add.at(members, (index[index >= 0], parent[index >= 0]), 1)
    shares = np.bincount(index[index >= 0], np.array(importance)[index >= 0], groups)
    return {
        "parent": parent, "neuron": np.tile(np.arange(half), 2), "importance": np.array(importance),
        "lost": np.array(lost), "group_members": members, "group_importance": shares, "group_error": np.array(error),
    }


@pytest.fixture
def mixed_up() -> dict:
    """Groups: 0 mixes and holds two of parent 0; 1 holds two of parent 0; 2 and 3 one each; 4 none; the last neuron is
    in none."""
    return arrays(
        [0, 0, 1, 1, 0, 2, 3, -1], 5, error=[0.8, 0.4, 0, 0, 0], lost=[0.9, 0.7, 0.4, 0.4, 0.2, 0, 0, 1],
        importance=[4, 1, 1, 1, 1, 1, 0.5, 0.5],
    )


def test_groups_are_counted_by_what_they_hold(mixed_up: dict) -> None:
    found = verdict(mixed_up, hard=True)
    counts = {name: found[name] for name in ("groups", "mixed", "several", "one_parent", "single", "empty")}
    assert counts == {"groups": 5, "mixed": 1, "several": 2, "one_parent": 3, "single": 2, "empty": 1}


def test_the_worst_are_ranked_by_importance_times_loss(mixed_up: dict) -> None:
    found = verdict(mixed_up, hard=True)
    assert [(g["group"], g["share"], g["lost"]) for g in found["worst_groups"]] == [(0, 0.6, 0.8), (1, 0.2, 0.4)]
    assert [n["neuron"] for n in found["worst_neurons"]] == ["0:0", "0:1", "1:3", "0:2", "0:3"]
    assert found["cost"] == pytest.approx(0.6 * 0.8 + 0.2 * 0.4)


def test_concentration_is_what_the_top_tenth_holds() -> None:
    given = arrays([0] * 20, 1, error=[0.0], lost=[0.0] * 20, importance=[5, 0, 3, *[1] * 17])
    assert verdict(given, hard=True)["concentration"] == pytest.approx(8 / 25)


def test_the_sentence_says_the_figures(mixed_up: dict) -> None:
    assert verdict(mixed_up, hard=True)["sentence"] == (
        "2 of 5 groups hold one neuron; 1 mixes parents; 1 is empty; the most important group loses 80 % of its "
        "variance."
    )


@pytest.mark.parametrize(
    ("error", "group", "hard", "severity"),
    [
        (0.1, [0, 1, 0, 1], True, "good"),
        (0.21, [0, 1, 0, 1], True, "fair"),
        (0.51, [0, 1, 0, 1], True, "poor"),
        (0.0, [0, 1, 0, 2], True, "fair"),  # one of three mixes
        (0.0, [0, 1, 2, 3], True, "poor"),
        (0.0, [0, 1, 2, 3], False, "good"),  # soft groups: all parents may be in each
    ],
)
def test_severity_has_stated_thresholds(error: float, group: list[int], hard: bool, severity: str) -> None:
    groups = max(group) + 1
    given = arrays(group, groups, error=[error] * groups, lost=[error] * 4, importance=[1, 1, 1, 1])
    assert verdict(given, hard=hard)["severity"] == severity


def test_one_parent_is_not_blamed_for_not_mixing() -> None:
    given = arrays([0, 1], 2, error=[0.0, 0.0], lost=[0.0, 0.0], importance=[1, 1])
    alone = given | {"parent": np.zeros(2, np.int64), "group_members": np.ones((2, 1), np.int64)}
    found = verdict(alone, hard=True)
    assert found["severity"] == "good"
    assert "mix" not in found["sentence"]


def test_nothing_important_is_no_error() -> None:
    given = arrays([0, 1, 0, 1], 2, error=[0.9, 0.9], lost=[0.9] * 4, importance=[0, 0, 0, 0])
    found = verdict(given, hard=True)
    assert (found["cost"], found["worst_groups"], found["worst_neurons"]) == (0.0, [], [])


def test_a_network_is_as_good_as_its_worst_space() -> None:
    def space(error: float) -> dict:
        return verdict(
            arrays([0, 1, 0, 1], 2, error=[error] * 2, lost=[error] * 4, importance=[1, 1, 1, 1]), hard=True
        )

    found = network_verdict([("a", space(0.1)), ("b", space(0.7)), ("c", space(0.9))])
    assert (found["severity"], found["worst"]) == ("poor", ["c", "b", "a"])
    assert found["sentence"] == (
        "2 of 3 spaces are grouped poorly; the worst, c, loses 90 % of the variance, weighed by importance."
    )
    assert network_verdict([])["worst"] == []


def test_the_group_that_costs_most_is_named_where_it_is_not_the_most_important() -> None:
    given = arrays([0, 1, 0, 1], 2, error=[0.0, 0.5], lost=[0, 0.5, 0, 0.5], importance=[3, 1, 3, 1])
    assert verdict(given, hard=True)["sentence"].endswith(
        "the most important group loses 0 % of its variance; group 1 costs most: it has 25 % of the importance and "
        "loses 50 % of its variance."
    )


def test_more_than_everything_can_be_lost_and_that_is_said() -> None:
    given = arrays([0, 0, 1, 1], 2, error=[1.01, 1.0], lost=[1.01] * 4, importance=[3, 3, 1, 1])
    found = verdict(given, hard=True)
    assert "loses more than all of its variance (101 %: constants would do better)." in found["sentence"]
    assert found["first"]["lost"] == 1.01
    said = network_verdict([("a", found), ("b", verdict(given, hard=True))])["sentence"]
    assert said.endswith("all of the variance (101 %: constants would do better), weighed by importance.")
    whole = arrays([0, 0], 1, error=[1.004], lost=[1.0] * 2, importance=[1, 1])
    assert "loses 100 % of its variance" in verdict(whole, hard=True)["sentence"]
