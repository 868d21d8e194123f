"""Label rules, one family of operators a module; importing the package registers them."""

from . import attention, contraction, convolution, movement, normalisation, pointwise, recurrent, reduction
from .registry import Call, NoRuleError, Rule, find_rule, label_rule

__all__ = [
    "Call", "NoRuleError", "Rule", "attention", "contraction", "convolution", "find_rule", "label_rule", "movement",
    "normalisation", "pointwise", "recurrent", "reduction",
]  # fmt: skip
