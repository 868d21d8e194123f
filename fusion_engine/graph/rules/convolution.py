"""Convolutions of any rank, grouped, depthwise and transposed: a contraction inside each group."""

from ..labels.algebra import Labels
from ..labels.atoms import Array, live_dims
from .registry import Call, label_rule


@label_rule("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def convolution(call: Call) -> Labels:
    algebra, rank = call.algebra, len(call.shape)
    groups = call.arguments.get("groups", 1)
    transposed = "transpose" in call.operator or call.arguments.get("transposed", False)
    image, weight = call.require("input"), call.require("weight")
    for labels, tag in ((image, f"{call.tag}.position"), (weight, f"{call.tag}.kernel")):
        for layer in labels.layers:
            if _is_spatial(layer):
                algebra.freeze_layer(layer, tag)
    image = algebra.move(_channels(image), lambda t: t.reshape(t.shape[0], groups, -1))
    weight = algebra.move(_channels(weight), lambda t: t.reshape(groups, -1, t.shape[1]))
    kernel = ["group", "in", "out"] if transposed else ["group", "out", "in"]
    result = algebra.contract(
        [(image, ["batch", "group", "in"]), (weight, kernel)], ["batch", "group", "out"], call.tag
    )
    flat = algebra.move(result, lambda t: t.flatten(1)).trailing(rank - 2)
    return algebra.affine(Labels(call.shape, flat.layers), None, call.labels("bias"), call.tag, dim=1)


def _is_spatial(layer: Array) -> bool:
    return any(d > 1 for d in live_dims(layer))


def _channels(labels: Labels) -> Labels:
    layers = [x.reshape(x.shape[:2]) for x in labels.layers if not _is_spatial(x)]
    return Labels(labels.shape[:2], layers, labels.varies[:2])
