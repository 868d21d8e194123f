"""From parents to a fused network: check, trace and verify, score, group, solve, refine, compare, report."""

from .fuse import fuse
from .prepare import Prepared, checked_recipe, prepare, score_parents
from .result import FusionResult
from .widths import plan_widths, trace_parents

__all__ = [
    "FusionResult", "Prepared", "checked_recipe", "fuse", "plan_widths", "prepare", "score_parents", "trace_parents",
]  # fmt: skip
