"""Make the lessons that come with the program again: python -m fusion_engine.teaching [FOLDER]."""

import json
import sys
from pathlib import Path

from ..analysis import analyse
from ..data import load_data
from ..demo import load_demo
from ..store.files import write_bytes
from .lesson import POINTS, TEST_POINTS, make_lesson
from .problems import drawn
from .shapes import DemoBarrier, Lesson
from .shipped_lessons import PROBLEMS, SHIPPED

SEEDS = {"spiral": 2, "moons": 2, "rings": 2, "quarters": 0}
"""Of eight that were tried of each, one that tells the story plainly: nearly all tell it, with more or less noise."""


def lesson(problem: str) -> Lesson:
    """The lesson of a problem that comes with the program."""
    return make_lesson(problem, drawn(problem, POINTS, "train"), drawn(problem, TEST_POINTS, "test"), SEEDS[problem])


def barrier() -> DemoBarrier:
    """The straight line between the first two of the demo's parents, on its test data."""
    parents = load_demo()[:2]
    found = analyse(parents, load_data("digits:test"), what=["connectivity"], align="permutation", points=21)
    (pair,) = found["connectivity"]["pairs"]
    for way in ("as_is", "aligned"):
        del pair[way]["levels"]
    return {
        "first": pair["first"], "second": pair["second"], "parents": [parent.digest for parent in parents],
        "as_is": pair["as_is"], "aligned": pair["aligned"],
    }  # fmt: skip


def _write(path: Path, value: object) -> None:
    write_bytes(path, json.dumps(value, separators=(",", ":"), allow_nan=False).encode())


def main(folder: Path) -> None:
    """Make all of them, write them to `folder`, and print how good the networks are."""
    for problem in PROBLEMS:
        made = lesson(problem)
        _write(folder / f"{problem}.json", made)
        print(problem, [round(parent["accuracy"], 3) for parent in made["parents"]])
        for count, fused in made["fused"].items():
            print("  of", count, {recipe: round(found["accuracy"], 3) for recipe, found in fused.items()})
    _write(folder / "demo_barrier.json", barrier())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
