"""Searches: the same trials after a kill, nothing done twice, the best by held-out loss alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fusion_engine import fuse, search
from fusion_engine.core.errors import Cancelled, DataError, FusionError, RecipeError, StoreError
from fusion_engine.core.recipe import Recipe
from fusion_engine.tuning import trial as trials_module
from fusion_engine.tuning.history import History, read_trials
from fusion_engine.tuning.inputs import search_inputs
from fusion_engine.tuning.plan import make_plan
from fusion_engine.tuning.table import best_trial, budget_left, failed_trial

RECIPE = {"importance": "uniform", "grouping": "kmeans", "solver": "least_squares"}
SPACE: dict[str, Any] = {
    "grouping.tries": {"choices": [1, 2]}, "solver.ridge": {}, "solver.head_weights": {"choices": ["uniform"]},
}
WHAT = ("number", "state", "settings", "loss", "held_out", "test", "same_as")


def told(table: Any) -> list[dict[str, Any]]:
    return [{key: trial[key] for key in WHAT} for trial in table["trials"]]


@pytest.fixture(scope="module")
def whole(given) -> Any:
    """Twelve trials: two more than are drawn at random."""
    return search(given.parents, given.data, RECIPE, SPACE, trials=12, test=given.test)


def test_the_first_trial_is_the_recipe_and_the_best_has_the_smallest_held_out_loss(whole) -> None:
    assert whole["trials"][0]["settings"] == {}
    losses = [trial["loss"] for trial in whole["trials"]]
    assert losses[whole["best"]] == min(losses)
    settings = whole["trials"][whole["best"]]["settings"]
    assert Recipe.from_mapping(whole["best_recipe"]) == Recipe.from_mapping(whole["recipe"]).set(settings)
    assert whole["samples"] == {"fitted": 120, "held_out": 40, "test": 100}
    assert any("chose nothing" in line for line in whole["notes"])
    assert any("solver.ridge (auto)" in line for line in whole["notes"])


def test_the_test_set_has_no_say(given, whole) -> None:
    other = given.test.subset(list(range(50)))
    again = search(given.parents, given.data, RECIPE, SPACE, trials=12, test=other)
    assert [t["settings"] for t in again["trials"]] == [t["settings"] for t in whole["trials"]]
    assert again["best"] == whole["best"]


class Killed(BaseException):
    """As SIGKILL: nothing in the program sees it coming."""


def test_a_killed_search_goes_on_with_the_same_trials(given, whole, tmp_path: Path, monkeypatch) -> None:
    asked: list[dict[str, Any]] = []
    real = trials_module.fuse

    def counting(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2].to_mapping())
        if len(asked) == 12:  # the second trial that is not drawn at random
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(trials_module, "fuse", counting)
    common = {"trials": 12, "test": given.test, "folder": tmp_path / "search"}
    with pytest.raises(Killed):
        search(given.parents, given.data, RECIPE, SPACE, **common)
    journal = tmp_path / "search" / "trials.log"
    with journal.open("ab") as file:  # it died in the middle of a line, with Optuna's lock held
        file.write(b'{"op_code": 4, "worker')
    (tmp_path / "search" / "trials.log.lock").touch()
    with pytest.raises(FusionError, match="resume it"):
        search(given.parents, given.data, RECIPE, SPACE, **common)
    table = search(given.parents, given.data, RECIPE, SPACE, **common, resume=True)
    assert told(table) == told(whole)
    assert len(asked) == 13  # the killed one again, and nothing else
    with pytest.raises(FusionError, match="another recipe, space, seed"):
        search(given.parents, given.data, RECIPE, SPACE, **common | {"trials": 13}, resume=True, seed=1)
    more = search(given.parents, given.data, RECIPE, SPACE, **common | {"trials": 13}, resume=True)
    assert told(more)[:12] == told(whole)
    journal.write_text("nothing of Optuna's\n")
    with pytest.raises(StoreError, match="damaged"):
        search(given.parents, given.data, RECIPE, SPACE, **common, resume=True)


def test_a_journal_that_was_never_begun_is_begun_and_a_damaged_one_is_a_line(given, tmp_path: Path) -> None:
    plan = make_plan(search_inputs(given.parents, given.data), Recipe.from_mapping(RECIPE), SPACE, trials=2)
    journal = tmp_path / "trials.log"
    for begun in (b"", b'{"op_code": 0, "wor'):  # the disk was full
        journal.write_bytes(begun)
        assert read_trials(tmp_path) == []
        with History(plan, tmp_path) as history:
            assert history.trials == []
        assert read_trials(tmp_path) == []
    whole = journal.read_bytes()
    unknown = b'{"op_code": 99, "worker_id": 1}\n'
    for damage in (b"nothing\n", b"[]\n", b'{"op_code": 4}\n', b"\xff\xfe\n", whole + unknown):
        journal.write_bytes(damage)
        with pytest.raises(StoreError, match="is damaged; begin it anew"):
            read_trials(tmp_path)
        with pytest.raises(StoreError, match="is damaged; begin it anew"):
            History(plan, tmp_path)


def test_a_trial_is_what_fusing_by_its_recipe_gives(given, whole) -> None:
    best = whole["trials"][whole["best"]]
    again = search(given.parents, given.data, whole["best_recipe"], ["grouping.tries"], trials=1, test=given.test)
    assert again["trials"][0]["loss"] == best["loss"]
    one = fuse(given.parents, given.data, whole["best_recipe"])
    text = Recipe.from_mapping(whole["best_recipe"]).to_yaml()
    other = fuse(given.parents, given.data, Recipe.from_yaml(text))
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def test_the_same_settings_are_fused_once(given, monkeypatch) -> None:
    calls: list[int] = []
    real = trials_module.fuse
    monkeypatch.setattr(trials_module, "fuse", lambda *a, **o: (calls.append(1), real(*a, **o))[1])
    table = search(given.parents, given.data, RECIPE, {"grouping.tries": {"choices": [1, 2]}}, trials=6)
    assert len(calls) == 3  # the recipe as given, one try, two tries
    repeated = [trial for trial in table["trials"] if trial["same_as"] is not None]
    assert len(repeated) == 3
    assert all(t["loss"] == table["trials"][t["same_as"]]["loss"] and t["seconds"] == 0 for t in repeated)


def test_a_trial_that_fails_is_a_line_and_the_search_goes_on(given, monkeypatch) -> None:
    real = trials_module.fuse

    def failing(parents, data, recipe, **options):
        if recipe.to_mapping()["grouping"]["tries"] == 2:
            raise FusionError("not with two")
        return real(parents, data, recipe, **options)

    monkeypatch.setattr(trials_module, "fuse", failing)
    table = search(given.parents, given.data, RECIPE, {"grouping.tries": {"choices": [1, 2]}}, trials=6)
    failed = [trial for trial in table["trials"] if trial["state"] == "failed"]
    assert failed
    assert {trial["reason"] for trial in failed} == {"not with two"}
    assert table["best"] not in [trial["number"] for trial in failed]


def test_budgets_and_cancelling(given) -> None:
    done = [{**failed_trial(n, {}, ""), "seconds": 2.0} for n in range(3)]
    assert budget_left({"trials": 4, "seconds": None}, done)
    assert not budget_left({"trials": 3, "seconds": None}, done)
    assert budget_left({"trials": 4, "seconds": 6.5}, done)
    assert not budget_left({"trials": 4, "seconds": 6.0}, done)
    assert best_trial(done) is None

    def cancel(event: Any) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        search(given.parents, given.data, RECIPE, SPACE, trials=2, on_progress=cancel)


@pytest.mark.parametrize(("changes", "error", "line"), [
    ({"trials": 0}, RecipeError, "trials must be"),
    ({"seconds": -1.0}, RecipeError, "seconds must be"),
    ({"recipe": "hf_lineer"}, RecipeError, "did you mean"),
    ({"held_out": 0.01}, DataError, "too few to tell"),
])  # fmt: skip
def test_what_cannot_run_is_one_line(given, changes: dict[str, Any], error: type, line: str) -> None:
    with pytest.raises(error, match=line):
        search(given.parents, given.data, **({"recipe": RECIPE, "trials": 2} | changes))


def test_samples_that_judge_are_no_others(given) -> None:
    plan = {"recipe": RECIPE, "trials": 2}
    for held, what in ((given.data.subset(list(range(40))), "40 of the held-out samples are calibration samples"),
                       (given.test, "100 of the held-out samples are test samples")):
        with pytest.raises(DataError, match=what):
            search(given.parents, given.data, held_out=held, test=given.test, **plan)


def test_test_samples_that_judged_are_said(given) -> None:
    found = search_inputs(given.parents, given.data, test=given.data)
    assert any("test samples are among those held out" in line for line in found.read)
    assert not search_inputs(given.parents, given.data, test=given.test).read


def test_without_labels_there_is_nothing_to_judge_by(given) -> None:
    from dataclasses import replace

    unlabelled = replace(given.data, y=None)
    with pytest.raises(DataError, match="held-out loss needs them"):
        search(given.parents, unlabelled, {**RECIPE, "solver": "average"}, ["grouping.tries"], trials=2)


def test_a_table_is_json(whole) -> None:
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
