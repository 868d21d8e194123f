"""Normalisations: batch, instance, layer, group and RMS norm, softmax, weight norm."""

from ..labels.algebra import Labels
from .registry import Call, label_rule


@label_rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm")
def batch_norm(call: Call) -> Labels | list[Labels | None]:
    labels = call.require("input")
    if call.arguments.get("training") or call.arguments.get("use_input_stats"):  # no running statistics: the input's
        over = range(2, len(labels.shape))
        labels = call.algebra.normalise(labels, [0, *over] if call.operator != "instance_norm" else over)
    for name in ("weight", "bias", "running_mean", "running_var"):
        labels = call.algebra.affine(labels, call.labels(name), None, call.tag, dim=1)
    return _first_of(call, labels)


@label_rule("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(call: Call) -> Labels | list[Labels | None]:
    labels = call.require("input")
    rank = len(labels.shape)
    over = range(rank - len(call.arguments["normalized_shape"]), rank)
    labels = call.algebra.normalise(labels, over)
    return _first_of(call, call.algebra.affine(labels, call.labels("weight"), call.labels("bias"), call.tag))


@label_rule("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(call: Call) -> Labels:
    labels = call.require("self", "input")
    return call.algebra.normalise(labels, [call.arguments["dim"] % len(labels.shape)])


@label_rule("group_norm")
def group_norm(call: Call) -> Labels:
    algebra, labels = call.algebra, call.require("input")
    groups = call.arguments["num_groups"]
    split = algebra.move(labels, lambda t: t.reshape(t.shape[0], groups, -1, *t.shape[2:]))
    algebra.normalise(split, range(2, len(split.shape)))
    algebra.restrict(labels)
    return algebra.affine(labels, call.labels("weight"), call.labels("bias"), call.tag, dim=1)


@label_rule("_weight_norm")
def weight_norm(call: Call) -> Labels:
    direction = call.require("v")
    over = [d for d in range(len(direction.shape)) if d != call.arguments["dim"]]
    normalised = call.algebra.normalise(direction, over)
    return call.algebra.elementwise([normalised, call.require("g")], call.shape, "nonlinear", call.tag)


def _first_of(call: Call, labels: Labels) -> Labels | list[Labels | None]:
    """The normalised tensor; operators that also return statistics have it first."""
    value = call.node.meta.get("val")
    return [labels, *[None] * (len(value) - 1)] if isinstance(value, list | tuple) else labels
