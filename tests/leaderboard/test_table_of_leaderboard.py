from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_engine.leaderboard.rows import REFERENCES, Row
from fusion_engine.leaderboard.table import pareto, standings

ROOT = Path(__file__).resolve().parents[2]


def row(preset: str, seed: int | None, reason: str = "") -> dict[str, Any]:
    return Row(f"{preset}{seed}", preset, preset.title(), "uniform", True, seed, {"name": preset}, reason).as_json()


def done(planned: dict[str, Any], accuracy: float, cost: float) -> dict[str, Any]:
    return {
        **planned, "state": "done", "accuracy": accuracy, "loss": 1 - accuracy, "cost": cost,
        "seconds": {"total": cost / 2}, "peak_memory_mb": 10.0 + cost,
    }


def test_pareto_front() -> None:
    points = [(1.0, 0.5), (2.0, 0.9), (2.0, 0.8), (3.0, 0.9), None, (0.5, 0.4), (0.6, 0.4)]
    assert pareto(points) == [True, True, False, False, False, True, False]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_nobody_beats_the_front_and_somebody_beats_the_rest(points: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a != b and a[0] <= b[0] and a[1] >= b[1]

    for point, on in zip(points, pareto(points), strict=True):
        assert on != any(beats(other, point) for other in points)


def test_order_and_states() -> None:
    plan = [row(name, seed) for name, seed in product(("slow", "good", "mixed", "later"), (0, 1))]
    plan.append(row("refused", None, "takes two parents"))
    rows = [
        done(plan[0], 0.7, 9.0), done(plan[1], 0.8, 11.0), done(plan[2], 0.9, 1.0),
        {**plan[4], "state": "failed", "reason": "broke"}, {**plan[5], "state": "failed", "reason": "broke"},
        {**plan[8], "state": "unavailable"},
    ]  # fmt: skip
    table = standings(plan, rows)
    assert [(e["preset"], e["state"]) for e in table["entries"]] == [
        ("good", "partial"), ("slow", "done"), ("later", "waiting"), ("mixed", "failed"), ("refused", "unavailable"),
    ]
    good, slow, later, mixed, refused = table["entries"]
    assert (good["seeds"], good["planned"], good["pareto"]) == ([0], 2, True)
    assert good["accuracy"] == {"mean": 0.9, "std": 0.0, "min": 0.9, "max": 0.9}
    assert slow["accuracy"]["std"] == pytest.approx(0.1 / 2**0.5)
    assert (slow["seconds"], slow["spent"], slow["peak_memory_mb"], slow["pareto"]) == (10.0, 5.0, 21.0, False)
    assert later["accuracy"] is None
    assert (mixed["reason"], refused["reason"]) == ("broke", "takes two parents")
    assert (table["done"], table["total"]) == (6, 10)


def test_whether_fusing_pays_is_said() -> None:
    plan = [row("good", 0), row("distilled_best_parent", 0)]
    best = {"key": REFERENCES, "references": [{"name": "best_parent", "accuracy": 0.6}], "parents": []}
    assert standings(plan, [done(plan[1], 0.7, 1.0)])["pays"] == ""  # no fusion yet
    assert standings(plan, [done(plan[0], 0.8, 1.0)])["pays"] == ""  # nothing to compare it with
    better = standings(plan, [done(plan[0], 0.8, 1.0), done(plan[1], 0.7, 1.0), best])["pays"]
    assert better == "Fusing pays here: good has 80.0 %, the ensemble distilled into the best parent 70.0 %."
    worse = standings(plan, [done(plan[0], 0.65, 1.0), done(plan[1], 0.7, 1.0), best])["pays"]
    assert worse.startswith("Fusing does not pay here: good has 65.0 %, the ensemble distilled into")
    alone = standings(plan, [done(plan[0], 0.55, 1.0), best])["pays"]
    assert alone == "Fusing does not pay here: good has 55.0 %, the best parent 60.0 %."
    told = zip(plan, (4.0, 5.0), strict=True)
    lower = [{**done(p, 0.5, 1.0), "metric": "perplexity", "perplexity": value} for p, value in told]
    assert standings(plan, lower)["pays"].startswith("Fusing pays here: good has perplexity 4,")


def test_rows_that_are_not_planned_do_not_count() -> None:
    plan = [row("one", 0)]
    other = done(row("two", 0), 1.0, 1.0)
    table = standings(plan, [other, {"key": REFERENCES, "references": [{"name": "average"}], "parents": []}])
    assert (table["done"], table["total"], len(table["entries"])) == (1, 2, 1)
    assert table["references"] == [{"name": "average"}]


def test_no_torch() -> None:
    code = "import sys, fusion_engine.leaderboard.table; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
