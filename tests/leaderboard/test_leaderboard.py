from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from typing import Any

import pytest
import torch

from fusion_engine import fuse
from fusion_engine.architectures.custom import custom_config
from fusion_engine.core.errors import Cancelled, DataError, FusionError, RecipeError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import Dataset
from fusion_engine.evaluation import evaluate
from fusion_engine.leaderboard import REFERENCES, Inputs, leaderboard, make_plan, run_row, standings
from fusion_engine.parents import make_parent
from fusion_engine.presets import recipes
from fusion_engine.stats import StatisticsCache

PRESETS = ["kf_linear", "hf_linear", "average"]


@pytest.fixture(scope="module")
def board(mlps, digits, test_digits) -> dict[str, Any]:
    return leaderboard(mlps, digits, test_digits, PRESETS, seeds=(0, 1))


def test_a_row_is_what_the_fusion_alone_gives(board, mlps, digits, test_digits) -> None:
    row = next(r for r in board["rows"] if r.get("preset") == "kf_linear" and r["seed"] == 1)
    alone = fuse(mlps, digits, "kf_linear", seed=1)
    measured = evaluate(alone.model, None, test_digits)
    assert (row["accuracy"], row["loss"]) == (measured.accuracy, measured.loss)
    assert row["cost"] == pytest.approx(row["seconds"]["total"] + row["seconds"]["shared"])
    assert row["peak_memory_mb"] > 1


def test_what_rows_have_in_common_is_computed_once(board) -> None:
    rows = {(r["preset"], r["seed"]): [e["what"] for e in r["shared"]] for r in board["rows"] if r["key"] != REFERENCES}
    # The references have computed the conductance already.
    assert {"importance of a", "importance of b"} <= set(rows["kf_linear", 0])
    assert "joint moments" not in rows["kf_linear", 0]
    assert "joint moments" in rows["hf_linear", 0]


def test_the_table(board, mlps, test_digits) -> None:
    entries = {entry["label"]: entry for entry in board["entries"]}
    assert set(entries) == set(PRESETS)
    assert (board["done"], board["total"]) == (7, 7)
    means = [entry["accuracy"]["mean"] for entry in board["entries"]]
    assert means == sorted(means, reverse=True)
    two = [r["accuracy"] for r in board["rows"] if r.get("preset") == "kf_linear"]
    spread = entries["kf_linear"]["accuracy"]
    assert spread["mean"] == pytest.approx(sum(two) / 2)
    assert spread["std"] == pytest.approx(abs(two[0] - two[1]) / 2**0.5)
    assert (spread["min"], spread["max"]) == (min(two), max(two))
    assert board["entries"][0]["pareto"]
    shown = {entry["name"]: entry["accuracy"] for entry in board["references"]}
    single = [evaluate(p.model, None, test_digits).accuracy for p in mlps]
    assert shown["best_parent"] == max(single)
    assert shown["mean_parent"] == pytest.approx(sum(single) / 2)
    assert {"average", "ensemble", "softmax_ensemble", "head_weighted_ensemble"} < set(shown)
    assert [p["accuracy"] for p in board["parents"]] == single


def test_refused_rows_say_why_before_anything_runs(mlps, digits, test_digits) -> None:
    three = [*mlps, replace(mlps[0], name="c")]
    blind = Dataset(x=digits.x, y=None, mean=digits.mean, std=digits.std, classes=digits.classes)
    shares = Recipe.from_mapping({"name": "by_share", "solver": {"method": "average", "head_weights": "class_share"}})
    tuned = Recipe.from_mapping({"name": "tuned", "post": "fine_tuning"})
    plan = make_plan(Inputs(three, blind, test_digits), ["hf_linear", "average", shares, tuned], seeds=(0, 1))
    reasons = {row.preset: row.reason for row in plan}
    assert "at most 2 parents" in reasons["hf_linear"]
    assert "class counts" in reasons["by_share"]
    assert "labels" in reasons["tuned"]
    assert reasons["average"] == ""
    assert [row.seed for row in plan if row.preset == "hf_linear"] == [None]
    done = run_row(Inputs(three, blind, test_digits), plan[0])
    assert (done["state"], done["reason"]) == ("unavailable", reasons["hf_linear"])
    entry = standings([row.as_json() for row in plan], [done])["entries"][-3:]
    assert any(e["preset"] == "hf_linear" and e["state"] == "unavailable" for e in entry)


def test_all_presets_are_found_and_planned(mlps, digits, test_digits) -> None:
    plan = make_plan(Inputs(mlps, digits, test_digits))
    assert {row.preset for row in plan} == set(recipes())


def test_importances_replace_the_presets_own(mlps, digits, test_digits) -> None:
    plan = make_plan(Inputs(mlps, digits, test_digits), ["kf_linear"], ["own", "conductance", "uniform"], (0,))
    assert [(row.importance, row.own, row.label) for row in plan] == [
        ("conductance", True, "kf_linear"), ("uniform", False, "kf_linear, uniform"),
    ]
    with pytest.raises(RecipeError, match="unknown importance"):
        make_plan(Inputs(mlps, digits, test_digits), "all", ["conductanse"])
    with pytest.raises(RecipeError, match="no recipe"):
        make_plan(Inputs(mlps, digits, test_digits), ["kf_linea"])


def test_inputs_that_cannot_work_are_refused(mlps, digits, test_digits) -> None:
    blind = Dataset(x=digits.x, y=None, mean=digits.mean, std=digits.std, classes=digits.classes)
    with pytest.raises(FusionError, match="leaderboard needs them"):
        leaderboard(mlps, digits, blind)
    with pytest.raises(RecipeError, match="at least one importance"):
        make_plan(Inputs(mlps, digits, test_digits), importances=[])
    with pytest.raises(DataError, match="no device 'tpu'"):
        leaderboard(mlps, digits, test_digits, device="tpu")


def test_a_failing_row_is_a_row(mlps, digits, test_digits, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.leaderboard import run

    def broken(parents, data, recipe, **options):
        if recipe["name"] == "kf_linear":
            raise ZeroDivisionError("by zero")
        if recipe["name"] == "hf_linear":
            raise MemoryError
        return fuse(parents, data, recipe, **options)

    monkeypatch.setattr(run, "fuse", broken)
    found = leaderboard(mlps, digits, test_digits, PRESETS)
    entries = {entry["label"]: entry for entry in found["entries"]}
    assert entries["average"]["state"] == "done"
    assert entries["kf_linear"]["state"] == "failed"
    assert entries["kf_linear"]["reason"] == "unexpected ZeroDivisionError: by zero"
    assert "memory" in entries["hf_linear"]["reason"]
    assert found["entries"][0]["label"] == "average"


def test_weights_too_large_for_numbers_are_a_reason(mlps, digits, test_digits) -> None:
    """Finite parents whose outputs overflow: no row holds what JSON cannot."""
    large = [make_parent(p.name, p.architecture, {n: 1e25 * t for n, t in p.state.items()}) for p in mlps]
    found = leaderboard(large, digits, test_digits, ["average"])
    references, row = found["rows"]
    assert (references["state"], row["state"]) == ("failed", "failed")
    assert references["reason"].startswith("a does not give finite outputs")
    assert row["reason"].startswith("the fused network does not give finite outputs")
    json.dumps(found, allow_nan=False)


def test_widths_that_cannot_be_had_are_refused_in_the_plan(digits, test_digits, monkeypatch) -> None:
    """A user's own module has no other widths, so what makes the network wider cannot run on it."""
    module = types.ModuleType("own_module")
    layers = torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    module.make = lambda: torch.nn.Sequential(*layers)
    monkeypatch.setitem(sys.modules, "own_module", module)
    config, _ = custom_config("own_module:make", digits.input_shape)
    parents = [make_parent(name, config, module.make().state_dict()) for name in ("a", "b")]
    plan = make_plan(Inputs(parents, digits, test_digits), ["pleas", "zipit", "average"])
    assert {row.preset: bool(row.reason) for row in plan} == {"pleas": True, "zipit": False, "average": False}
    assert "only built-in architectures can change their widths" in plan[0].reason


def test_cancel_and_resume(mlps, digits, test_digits, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, Any]] = []

    def three(row: dict[str, Any]) -> None:
        rows.append(row)
        if len(rows) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        leaderboard(mlps, digits, test_digits, PRESETS, seeds=(0, 1), on_row=three)
    kept, rest = list(rows), []
    found = leaderboard(mlps, digits, test_digits, PRESETS, seeds=(0, 1), done=kept, on_row=rest.append)
    assert len(rest) == 4
    assert not {row["key"] for row in kept} & {row["key"] for row in rest}
    assert found["done"] == found["total"] == 7
    other = leaderboard(mlps[::-1], digits, test_digits, ["average"], done=kept, on_row=rest.append)
    assert len(rest) == 6, "rows of other parents must not be taken"
    assert other["done"] == 2


def test_a_failed_row_is_run_again(mlps, digits, test_digits) -> None:
    inputs = Inputs(mlps, digits, test_digits)
    (row,) = make_plan(inputs, ["average"])
    failed = {**row.as_json(), "kind": "fusion", "state": "failed", "reason": "the worker died"}
    found = leaderboard(mlps, digits, test_digits, ["average"], done=[failed])
    assert found["entries"][0]["state"] == "done"


def test_progress_rises_and_cancels(mlps, digits, test_digits) -> None:
    events: list[ProgressEvent] = []
    leaderboard(mlps, digits, test_digits, ["average"], on_progress=events.append, cache=StatisticsCache())
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0

    def stop(event: ProgressEvent) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        leaderboard(mlps, digits, test_digits, ["average"], on_progress=stop)
