"""From a model to its coupled channel spaces, linear layers and levels, and to programs that run parts of it."""

from .apply import permute_state, transform_state
from .captured.nodes import arguments, dependents, is_symbolic, module_path, operator, shape
from .captured.samples import Samples
from .rules import label_rule
from .running.program import Program
from .running.sites import read_site
from .states.merge import (
    average_state,
    merge_activations,
    merge_features,
    merge_outputs,
    merge_states,
    unmerge_activations,
)
from .structure.layers import BATCH_NORMS
from .structure.nesting import Nest
from .structure.trace import Trace, lookup, output_shape, trace, with_aliases
from .verify import VerifyReport, random_permutation, verify, verify_all, without_blamed

__all__ = [
    "BATCH_NORMS",
    "Nest",
    "Program",
    "Samples",
    "Trace",
    "VerifyReport",
    "arguments",
    "average_state",
    "dependents",
    "is_symbolic",
    "label_rule",
    "lookup",
    "merge_activations",
    "merge_features",
    "merge_outputs",
    "merge_states",
    "module_path",
    "operator",
    "output_shape",
    "permute_state",
    "random_permutation",
    "read_site",
    "shape",
    "trace",
    "transform_state",
    "unmerge_activations",
    "verify",
    "verify_all",
    "with_aliases",
    "without_blamed",
]  # fmt: skip
