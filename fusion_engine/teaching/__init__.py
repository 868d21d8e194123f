"""Lessons: tiny networks on points in the plane, with what the engine finds of them, for the page Learn.

`python -m fusion_engine.teaching` makes those that come with the program again.
"""

from .shipped_lessons import PROBLEMS, demo_barrier, shipped_lesson

__all__ = ["PROBLEMS", "demo_barrier", "shipped_lesson"]
