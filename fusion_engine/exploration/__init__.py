"""What parents are made of and what their neurons look like, as tables for pages."""

from __future__ import annotations

from .joint_stats import joint_stats
from .space_tables import SpaceTables, merge_error, space_tables
from .structure import described, levels_json
from .writing import described_inputs, write_exploration

__all__ = [
    "SpaceTables",
    "described",
    "described_inputs",
    "joint_stats",
    "levels_json",
    "merge_error",
    "space_tables",
    "write_exploration",
]
