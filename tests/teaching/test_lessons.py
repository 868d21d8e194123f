"""Lessons: what comes with the program is what the engine makes, and what somebody draws is checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fusion_engine.analysis import analyse
from fusion_engine.architectures.mlp import MLPConfig
from fusion_engine.core.errors import DataError
from fusion_engine.core.progress import Progress
from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import load_demo
from fusion_engine.jobs.kinds import lesson as job
from fusion_engine.parents import make_parent
from fusion_engine.teaching import PROBLEMS, demo_barrier, lesson, shipped_lesson
from fusion_engine.teaching.lesson import RECIPES, lesson_of, state_of
from fusion_engine.teaching.problems import checked

POINTS = [[round(0.1 * i, 1), (-1) ** i * 0.5, i % 2] for i in range(12)]


def test_the_shipped_lesson_is_what_the_engine_finds_of_its_networks(monkeypatch) -> None:
    monkeypatch.setattr(lesson, "RECIPES", {name: RECIPES[name] for name in ("pairs", "kmeans", "kmeans_solved")})
    shipped = shipped_lesson("quarters")
    parts = [
        Dataset(torch.tensor(part["x"]), torch.tensor(part["y"]), classes=2)
        for part in (shipped["train"], shipped["test"])
    ]
    parents = [
        make_parent(f"parent_{p}", MLPConfig((2, 8, 2)), state_of(entry["network"]))
        for p, entry in enumerate(shipped["parents"])
    ]
    made = lesson_of(parents[:2], *parts, "quarters", shipped["seed"], Progress())
    assert made["matched"] == shipped["matched"][:2]
    assert made["importance"] == pytest.approx(np.array(shipped["importance"][:2]), rel=1e-5)
    for recipe, found in made["fused"]["2"].items():
        expected = shipped["fused"]["2"][recipe]
        assert found["labels"] == expected["labels"], recipe
        assert found["accuracy"] == pytest.approx(expected["accuracy"], abs=1 / 600), recipe
        for name, values in found["network"].items():
            assert np.asarray(values) == pytest.approx(np.asarray(expected["network"][name]), abs=1e-4), recipe
    for way, path in made["path"].items():
        assert path["loss"] == pytest.approx(shipped["path"][way]["loss"], abs=1e-5)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_shipped_lesson_tells_its_story(problem: str) -> None:
    shipped = shipped_lesson(problem)
    assert set(shipped["fused"]["2"]) == set(RECIPES)
    accuracy = {recipe: found["accuracy"] for recipe, found in shipped["fused"]["2"].items()}
    assert min(parent["accuracy"] for parent in shipped["parents"]) > 0.97
    assert accuracy["average"] + 0.05 < accuracy["pairs"] <= accuracy["pairs_solved"]
    assert accuracy["kmeans_solved"] > 0.97
    assert shipped["path"]["aligned"]["barrier"] < shipped["path"]["as_is"]["barrier"] / 2
    assert shipped["fused"]["4"]["kmeans_solved"]["accuracy"] > shipped["fused"]["4"]["average"]["accuracy"]


def test_the_barrier_on_start_is_that_of_the_demos_parents() -> None:
    shipped, parents = demo_barrier(), load_demo()[:2]
    assert shipped["parents"] == [parent.digest for parent in parents]
    found = analyse(parents, load_data("digits:test"), what=["connectivity"], align="permutation", points=3)
    (pair,) = found["connectivity"]["pairs"]
    for way in ("as_is", "aligned"):
        assert shipped[way]["accuracy"][::10] == pytest.approx(pair[way]["accuracy"], abs=1e-9)
        assert shipped[way]["loss"][::10] == pytest.approx(pair[way]["loss"], abs=1e-5)


def test_a_job_makes_a_lesson_of_drawn_points(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(lesson, "RECIPES", {name: RECIPES[name] for name in ("pairs", "kmeans")})
    job.run({"points": POINTS}, tmp_path, Progress())
    made = json.loads((tmp_path / "result.json").read_text())
    assert (made["problem"], made["classes"], made["fresh"]) == ("drawn", 2, False)
    assert made["train"] == made["test"] == {"x": [point[:2] for point in POINTS], "y": [p[2] for p in POINTS]}
    assert len(made["parents"]) == len(made["matched"]) == 4
    assert set(made["fused"]) == {"2", "3", "4"}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (None, "draw some points first"),
        ("abc", "draw some points first"),
        ([*POINTS, [0, 0]], "this is none: \\[0, 0\\]"),
        ([*POINTS, [0, float("nan"), 0]], "this is none"),
        ([*POINTS, [0, 3.5, 0]], "from -3 to 3"),
        ([*POINTS, [0, 0, 3]], "class from 0 to 2"),
        ([*POINTS, [0, True, 1]], "this is none"),
        (POINTS * 40, "at most 400"),
        ([[0, 0, 0]] * 20, "at least two classes"),
        ([*POINTS, [0, 0, 2]], "at least 5 points of each"),
        ([[x, y, 2 if c else 0] for x, y, c in POINTS], "use class 0 and 1"),
    ],
)
def test_points_that_cannot_be_learnt_from_are_refused_in_a_line(points, said) -> None:
    with pytest.raises(DataError, match=said) as error:
        checked(points)
    assert "\n" not in str(error.value)


def test_an_unknown_problem_is_named() -> None:
    with pytest.raises(DataError, match="there is no problem 'spirl'"):
        shipped_lesson("spirl")
