"""From parents to a fused network: check, trace and verify, score, group, solve, refine, compare, report."""

from .again import Finished
from .fuse import fuse, fuse_again
from .prepare import Prepared, checked_recipe, prepare, score_parents
from .result import FusionResult
from .widths import plan_widths, trace_parents

__all__ = [
    "Finished", "FusionResult", "Prepared", "checked_recipe", "fuse", "fuse_again", "plan_widths", "prepare",
    "score_parents", "trace_parents",
]  # fmt: skip
