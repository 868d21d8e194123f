"""Elementwise operations: sums and products keep more freedom than functions do."""

from ..labels.algebra import Labels, Mode
from .registry import Call, label_rule


@label_rule(
    "pointwise", "hardswish", "log_sigmoid", "rrelu", "threshold", "celu", "where", "masked_fill", "lerp",
    "nan_to_num", "copy", "__and__", "__or__", "__xor__",
)  # fmt: skip
def pointwise(call: Call) -> Labels:
    return call.algebra.elementwise(call.tensors(), call.shape, _mode(call), call.tag)


@label_rule("prelu")
def prelu(call: Call) -> Labels:
    """Slopes lie along dimension 1."""
    slopes = call.require("weight").trailing(len(call.shape) - 2)
    return call.algebra.elementwise([call.require("self"), slopes], call.shape, "nonlinear", call.tag)


@label_rule("glu")
def gated(call: Call) -> Labels:
    """The first half of the channels times a gate made from the second."""
    halves = call.algebra.move_many(call.require("self"), lambda t: t.chunk(2, call.arguments["dim"]))
    return call.algebra.elementwise(halves, call.shape, "nonlinear", call.tag)


def _mode(call: Call) -> Mode:
    name = call.operator
    shifted = any(
        isinstance(call.arguments.get(key), int | float) and call.arguments[key] != 0 for key in ("self", "other")
    )
    if name in {"add", "sub", "rsub"} and not shifted:
        return "add"
    if name in {"mul", "neg"}:
        return "mul"
    divisor = call.labels("other")
    if name == "div" and (divisor is None or not divisor.layers):
        return "mul"
    return "nonlinear"
