"""Tensors that scale neurons: norm weights, running variances, learned factors."""

from torch import fx

from ..captured.capture import Capture
from ..captured.nodes import arguments, operator
from ..structure.layers import BATCH_NORMS

_NORMS = BATCH_NORMS | {
    "instance_norm", "layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "rms_norm",
}  # fmt: skip


def scale_tensors(capture: Capture) -> frozenset[str]:
    """Names of the tensors that multiply or divide features neuron by neuron, and so have no direction to turn."""
    found = set()
    for node in capture.graph.nodes:
        if operator(node) in _NORMS:
            call = arguments(node)
            scales = [call.get("weight"), call.get("running_var")]
        elif operator(node) == "mul":
            scales = [node.args[0], node.args[1]]
        else:
            continue
        found |= {capture.tensors[x.name] for x in scales if isinstance(x, fx.Node) and x.name in capture.tensors}
    return frozenset(found)
