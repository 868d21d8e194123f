"""Job lesson: tiny networks trained on points that somebody drew, and fused, for the page Learn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.store.files import write_json
from fusion_engine.teaching.lesson import make_lesson
from fusion_engine.teaching.problems import checked

from ..inputs import whole_number


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json, a `Lesson`: see fusion_engine/teaching/shapes.py. points: [[x, y, class], ...]."""
    points = checked(arguments.get("points"))
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    write_json(folder / "result.json", make_lesson("drawn", points, None, seed, progress))
