"""Edits as values: read, written, resolved; and what they make of groups, whatever the groups are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_engine.core.edits import Edit, edits_from_text, read_edits, resolved
from fusion_engine.core.edits.applying import apply, edited_grouping, groups_of
from fusion_engine.core.edits.lost import change, group_error, merge_error, second_best
from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.core.types import Grouping

SIZES = (5, 4)
KINDS = ("move", "merge", "split", "pin", "exclude")


def grouping_of(labels: np.ndarray, weights: np.ndarray, size: int = 5) -> Grouping:
    merge = np.zeros((size, len(labels)))
    merge[labels, np.arange(len(labels))] = weights
    sums = merge.sum(1, keepdims=True)
    merge = np.divide(merge, sums, out=np.zeros_like(merge), where=sums > 0)
    unmerge = np.zeros((len(labels), size))
    unmerge[np.arange(len(labels)), labels] = 1
    cut = [SIZES[0]]
    return Grouping("s", "test", tuple(np.split(merge, cut, 1)), tuple(np.split(unmerge, cut, 0)),
                    tuple(np.split(labels, cut)))  # fmt: skip


@st.composite
def edit(draw: st.DrawFn) -> Edit:
    def neuron() -> str:
        p = draw(st.integers(0, 1))
        return f"{p}:{draw(st.integers(0, SIZES[p] - 1))}"

    kind = draw(st.sampled_from(KINDS))
    found = {"edit": kind, "space": "s", "neurons": [neuron() for _ in range(draw(st.integers(1, 3)))]}
    return Edit.read({**found, "to": neuron()} if kind == "move" else found, "edits.0")


@settings(max_examples=80, deadline=None)
@given(st.lists(edit(), max_size=6), st.integers(0, 2**31), st.booleans())
def test_any_edits_leave_a_grouping_whose_losses_are_those_of_its_matrices(
    edits: list[Edit], seed: int, equal: bool
) -> None:
    rng = np.random.default_rng(seed)
    importance = rng.uniform(0.1, 2, 9)
    before = grouping_of(rng.integers(0, 5, 9), np.ones(9) if equal else importance)
    features = rng.normal(size=(40, 9))
    covariance = np.cov(features.T, bias=True)
    chosen = resolved(edits, ["a", "b"], {"s": SIZES})
    try:
        after = edited_grouping(before, chosen, importance)
    except FusionError:
        return
    merge, unmerge = np.concatenate(after.merge, 1), np.concatenate(after.unmerge, 0)
    labels = np.concatenate(after.labels)
    used = np.isin(np.arange(5), labels)
    assert np.allclose(merge.sum(1), used)
    assert (unmerge.sum(1) == (labels >= 0)).all()
    groups = groups_of(after)
    np.testing.assert_allclose(group_error(covariance, groups), merge_error(covariance, after), atol=1e-12)
    result, source = apply(groups_of(before), chosen, importance, SIZES)
    found = change(covariance, groups_of(before), result, source)
    whole = np.diag(covariance).sum()
    assert found.lost_after == pytest.approx(merge_error(covariance, after).sum() / whole)
    assert found.lost_before == pytest.approx(merge_error(covariance, before).sum() / whole)
    moved = sum(g.lost_after - g.lost_before for g in found.groups)
    excluded = np.diag(covariance)[found.excluded].sum()
    assert whole * (found.lost_after - found.lost_before) == pytest.approx(moved + excluded, abs=1e-9)
    # In one go or one after the other.
    step = groups_of(before)
    for one in chosen:
        step, _ = apply(step, [one], importance, SIZES)
    assert (step.labels == result.labels).all()
    np.testing.assert_allclose(step.shares, result.shares, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_the_second_best_group_is_found_by_trying_all(seed: int, pinned: bool) -> None:
    rng = np.random.default_rng(seed)
    importance = rng.uniform(0.1, 2, 9)
    grouping = grouping_of(rng.integers(0, 5, 9), importance)
    if pinned:
        pin = Edit(edit="pin", space="s", neurons=("0:0",))
        grouping = edited_grouping(grouping, [pin], importance)
    groups = groups_of(grouping)
    covariance = np.cov(rng.normal(size=(40, 9)).T, bias=True)
    found = second_best(covariance, groups, importance)
    names = [*(f"0:{i}" for i in range(5)), *(f"1:{i}" for i in range(4))]
    for i in range(9):
        losses = {}
        for group in set(groups.labels.tolist()) - {int(groups.labels[i])}:
            to = names[np.flatnonzero(groups.labels == group)[0]]
            moved, source = apply(groups, [Edit(edit="move", space="s", neurons=(names[i],), to=to)], importance, SIZES)
            done = change(covariance, groups, moved, source)
            losses[group] = done.lost_after - done.lost_before
        if losses:
            assert found.group[i] == min(losses, key=losses.__getitem__)
            assert found.margin[i] == pytest.approx(min(losses.values()), abs=1e-9)
        else:
            assert found.group[i] == -1


def test_recipes_with_edits_round_trip_and_others_have_no_such_key() -> None:
    edits = [{"edit": "move", "space": "fc1", "neurons": ["0:1", "b:2-4"], "to": "1:30"}]
    recipe = Recipe.from_mapping({"grouping": "kmeans", "edits": edits})
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping()))) == recipe
    assert recipe.to_mapping()["edits"] == edits
    assert recipe.checked().edits == recipe.edits
    assert "edits" not in Recipe().to_mapping()
    assert recipe.with_edits([]) == Recipe.from_mapping({"grouping": "kmeans"})


def test_neurons_need_no_quotes() -> None:
    """YAML 1.1 reads 1:30 as 90."""
    found = edits_from_text("- {edit: exclude, space: fc1, neurons: [1:30, 0:05]}")
    assert found[0].neurons == ("1:30", "0:05")
    assert resolved(found, ["a", "b"], {"fc1": (40, 40)})[0].neurons == ("1:30", "0:5")


def test_names_that_several_parents_have_are_refused() -> None:
    edits = read_edits([{"edit": "exclude", "space": "s", "neurons": ["a:0"]}])
    with pytest.raises(FusionError, match="several parents have this name; write the parent's number"):
        resolved(edits, ["a", "a"], {"s": SIZES})


def test_what_cannot_be_done_is_said_in_a_line() -> None:
    grouping = grouping_of(np.array([0, 1, 2, 3, 4, 0, 1, 2, 3]), np.ones(9))

    def done(*edits: dict) -> None:
        edited_grouping(grouping, resolved(read_edits(list(edits)), ["a", "b"], {"s": SIZES}), np.ones(9))

    out = {"edit": "exclude", "space": "s", "neurons": ["0:4"]}
    with pytest.raises(FusionError, match="all 5 groups are in use"):
        done({"edit": "split", "space": "s", "neurons": ["0:0"]})
    with pytest.raises(FusionError, match="0:4 is in no group, so nothing can join it"):
        done(out, {"edit": "move", "space": "s", "neurons": ["0:0"], "to": "0:4"})
    with pytest.raises(FusionError, match="0:4 is in no group and cannot be part of a merge"):
        done(out, {"edit": "merge", "space": "s", "neurons": ["0:0", "0:4"]})
    with pytest.raises(RecipeError, match="10,001 are too many"):
        read_edits([out] * 10_001)
