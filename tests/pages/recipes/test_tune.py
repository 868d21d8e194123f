"""Tune: what is asked of a search, and what is shown of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import samples

from fusion_engine import store
from fusion_engine.store.files import write_json
from pages.components.tuning.axes import Axis, axes, left, read_ranges, value_of, written_ranges

READY = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}


def trial(number: int, settings: dict[str, Any], loss: float | None, **changes: Any) -> dict[str, Any]:
    measured = None if loss is None else {"accuracy": 1 - loss, "loss": loss, "others": {}}
    base = {
        "number": number, "state": "done" if loss is not None else "failed", "settings": settings, "loss": loss,
        "held_out": measured, "test": measured, "metric": "accuracy", "seconds": 0.5, "same_as": None,
        "reason": "" if loss is not None else "it broke", "ended": 1.0,
    }
    return base | changes


def dimension(path: str, kind: str, **changes: Any) -> dict[str, Any]:
    base = {"path": path, "label": path.split(".")[1].capitalize(), "kind": kind, "low": 0.0, "high": 0.0, "log": False,
            "choices": [], "start": None, "help": "", "expert": False}
    return base | changes


def search_table(**changes: Any) -> dict[str, Any]:
    recipe = {
        "name": "kf_linear", "importance": {"method": "activation"}, "grouping": {"method": "kmeans", "tries": 3},
        "solver": {"method": "least_squares", "ridge": "auto", "head_weights": "uniform"}, "post": [], "width": 1.0,
    }
    trials = [
        trial(0, {}, 0.3), trial(1, {"solver.ridge": 0.01, "solver.head_weights": "uniform"}, 0.2),
        trial(2, {"solver.ridge": 1.0, "solver.head_weights": "importance"}, 0.4),
        trial(3, {"solver.ridge": 0.1, "solver.head_weights": "importance"}, None),
    ]
    return {
        "recipe": recipe, "trials": trials, "best": 1, "best_recipe": recipe, "budget": {"trials": 4, "seconds": None},
        "dimensions": [
            dimension("solver.ridge", "float", low=0.001, high=10.0, log=True, start="auto"),
            dimension("solver.head_weights", "choice", choices=["uniform", "importance"], start="uniform"),
        ],
        "spent": 2.0, "samples": {"fitted": 300, "held_out": 100, "test": 500}, "seed": 0, "metric": "accuracy",
        "notes": ["trials are judged by held-out loss"],
    } | changes


def add_search(state: str = "done", error: str | None = None, **changes: Any) -> str:
    run = samples.add_run("search", {**READY, "recipe": "kf_linear", "samples": 300, "seed": 5}, state, error)
    write_json(store.run_folder(run) / "search.json", search_table(**changes))
    return run


def button(app: Any, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def test_the_search_begins_with_what_the_recipe_declares(open_page, filled, submitted) -> None:
    app = open_page("tune", **READY)
    app.button(key="start-search").click().run()
    assert not app.exception
    kind, arguments = submitted[-1]
    assert (kind, arguments["recipe"], arguments["trials"], arguments["seconds"]) == ("search", "kf_linear", 30, None)
    # kmeans' tries and the head weights have bounds or choices; the ridge of this catalogue has a highest one.
    assert arguments["dimensions"] == {"grouping.tries": {}, "solver.ridge": {}, "solver.head_weights": {}}
    assert store.read_job(samples.url(app, "search"))["kind"] == "search"


def test_ranges_and_budget_are_in_the_address(open_page, filled, submitted) -> None:
    app = open_page("tune", **READY, tune="grouping.tries=2:9;solver.head_weights=uniform,importance", trials="7")
    app.number_input(key="tune-grouping.tries-high").set_value(12).run()
    assert samples.url(app, "tune") == "grouping.tries=2:12;solver.head_weights=uniform,importance"
    app.button(key="start-search").click().run()
    assert submitted[-1][1]["dimensions"]["grouping.tries"] == {"low": 2, "high": 12}
    assert submitted[-1][1]["trials"] == 7


def test_a_range_that_cannot_be_is_a_line(open_page, filled) -> None:
    app = open_page("tune", **READY, tune="grouping.tries=9:2")
    assert any("lower one first" in warning.value for warning in app.warning)
    assert app.button(key="start-search").disabled


def test_the_best_trial_goes_to_fuse_in_one_click(open_page, filled) -> None:
    add_search()
    app = open_page("tune", **READY)
    assert not app.exception
    assert [m.value for m in app.metric][:2] == ["0.2000", "80.00\u202f%"]
    button(app, "Best recipe to Fuse").click().run()
    assert samples.url(app, "recipe") == "kf_linear"
    kept = json.loads(store.read_text("recipe", samples.url(app, "draft")))
    assert kept["solver"] == {"method": "least_squares", "ridge": 0.01, "head_weights": "uniform"}
    assert (samples.url(app, "samples"), samples.url(app, "seed")) == ("300", "5")


def test_ranges_leave_trials_in_the_table_too(open_page, filled) -> None:
    add_search()
    app = open_page("tune", **READY, ranges="solver.ridge=0.005:0.5")
    assert any("2 trials of 4" in caption.value for caption in app.caption)
    assert app.dataframe[0].value["Trial"].tolist() == [2, 4]
    assert "it broke" in app.dataframe[0].value["Note"].tolist()
    button(app, "Show all").click().run()
    assert len(app.dataframe[0].value) == 4
    other = open_page("tune", **READY, trial="3")
    assert any("importance" in caption.value for caption in other.caption)


def test_one_that_stopped_can_go_on(open_page, filled, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.jobs import client

    resumed: list[str] = []
    monkeypatch.setattr(client, "resume", resumed.append)
    run = add_search("cancelled")
    app = open_page("tune", **READY)
    button(app, "Resume").click().run()
    assert resumed == [run]
    failed = [trial(0, {}, None)]
    add_search("failed", "the worker died", trials=failed, best=None, best_recipe=None)
    app = open_page("tune", **READY)
    assert any("it broke" in error.value for error in app.error)


def test_places_on_axes() -> None:
    table = search_table()
    ridge, weights, loss, test = axes(table)
    assert ridge.place(0.1) == pytest.approx(0.5)
    assert ridge.place("auto") is None
    assert ridge.value(0.5) == pytest.approx(0.1)
    assert (weights.place("uniform"), weights.place("importance")) == (0, 1)
    assert (loss.low, loss.high, test.low, test.high) == (0.2, 0.4, 0.6, 0.8)
    assert value_of(table["trials"][0], ridge, table) == "auto"
    ranges = read_ranges("solver.ridge=0.005:0.5;nothing=1:2;held-out loss=x", axes(table))
    assert ranges == {"solver.ridge": (0.005, 0.5)}
    assert read_ranges(written_ranges(ranges), axes(table)) == ranges
    assert [t["number"] for t in left(table, axes(table), {"solver.head_weights": (0.5, 1.0)})] == [2, 3]
    assert Axis("a", "A", 1.0, 1.0).place(1.0) == 0.5


def test_another_search_has_other_trials(open_page, filled) -> None:
    one, two = add_search(), add_search()
    app = open_page("tune", **READY, search=one, trial="1", ranges="loss:0:1")
    app.selectbox(key="pick-search").set_value(two).run()
    assert not app.exception
    assert [samples.url(app, key) for key in ("search", "trial", "ranges")] == [two, None, None]
