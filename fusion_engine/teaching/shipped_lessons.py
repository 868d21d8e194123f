"""The lessons that come with the program, read without torch."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.registry import nearest
from .shapes import DemoBarrier, Lesson

SHIPPED = Path(__file__).parent / "shipped"
PROBLEMS: dict[str, str] = {
    "spiral": "Spiral, three arms", "moons": "Two moons", "rings": "Two rings", "quarters": "Four quarters (XOR)",
}
"""Name of each problem, and what it is called."""


def shipped_lesson(problem: str) -> Lesson:
    """The lesson of a problem. DataError for an unknown one."""
    if problem not in PROBLEMS:
        raise DataError(f"there is no problem {problem!r}{nearest(problem, PROBLEMS)}")
    found: Lesson = _read(problem)
    return found


def demo_barrier() -> DemoBarrier:
    """The paths between the demo's first two parents, as they are and aligned."""
    found: DemoBarrier = _read("demo_barrier")
    return found


@cache
def _read(name: str) -> Any:
    return json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
