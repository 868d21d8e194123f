"""From a model to its coupled channel spaces, linear layers and levels, and to programs that run parts of it."""

from __future__ import annotations

from .apply import permute_state, transform_state
from .merge import merge_activations, merge_outputs, merge_states, unmerge_activations
from .nesting import Nest
from .program import Program
from .rules import label_rule
from .sites import read_site
from .trace import Trace, trace
from .verify import VerifyReport, verify, verify_all

__all__ = [
    "Nest", "Program", "Trace", "VerifyReport", "label_rule", "merge_activations", "merge_outputs",
    "merge_states", "permute_state", "read_site", "trace", "transform_state", "unmerge_activations",
    "verify", "verify_all",
]  # fmt: skip
