"""The linear maps of a captured graph: linear layers and convolutions, with the batch norm that follows them."""

from collections import Counter
from typing import Any, Literal

from torch import fx

from fusion_engine.core.types import Layer, NormNames

from ..captured.capture import Capture
from ..captured.nodes import arguments, module_path, operator, shape

CONVOLUTIONS = frozenset(
    ["conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
)
BATCH_NORMS = frozenset(["batch_norm", "_native_batch_norm_legit_no_training"])


def find_layers(capture: Capture) -> dict[str, Layer]:
    """Every linear layer and convolution whose weight is a tensor of the model, in topological order.

    `space` is still None: spaces are known only after the label algebra.
    """
    found: dict[str, Layer] = {}
    used: Counter[str] = Counter()
    for node in capture.graph.nodes:
        kind: Literal["linear", "conv"] | None = (
            "linear" if operator(node) == "linear" else "conv" if operator(node) in CONVOLUTIONS else None
        )
        if kind is None:
            continue
        call = arguments(node)
        weight, bias = _tensor(capture, call["weight"]), _tensor(capture, call["bias"])
        if weight is None or (bias is None and call["bias"] is not None):
            continue
        base = _name(capture, node, weight)
        name = base if not used[base] else f"{base}#{used[base]}"
        used[base] += 1
        norm, output = _folded_norm(capture, node)
        options = _options(node, call) if kind == "conv" else {}
        found[name] = Layer(
            name, kind, weight, bias, norm, call["input"].name, output.name, space=None, options=options
        )
    return found


def _tensor(capture: Capture, node: Any) -> str | None:
    return capture.tensors.get(node.name) if isinstance(node, fx.Node) else None


def _name(capture: Capture, node: fx.Node, weight: str) -> str:
    """The module's path; the owner of the weight where a module calls the function on a weight it owns."""
    path = module_path(node)
    owners = [a.removesuffix(".weight").removesuffix("_weight") for a in capture.aliases.get(weight, (weight,))]
    if path in owners:
        return path
    return next((o for o in owners if not path or o.startswith(path + ".")), path or owners[0])


def _options(node: fx.Node, call: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key in ("stride", "padding", "dilation", "groups", "output_padding"):
        if key in call:
            options[key] = tuple(call[key]) if isinstance(call[key], list | tuple) else call[key]
    return {**options, "transposed": "transpose" in operator(node) or bool(call.get("transposed", False))}


def _folded_norm(capture: Capture, node: fx.Node) -> tuple[NormNames | None, fx.Node]:
    """The batch norm that alone reads `node` along its channels, and the node after it."""
    users = list(node.users)
    if len(users) != 1 or operator(users[0]) not in BATCH_NORMS:
        return None, node
    after = users[0]
    call = arguments(after)
    mean, var = _tensor(capture, call["running_mean"]), _tensor(capture, call["running_var"])
    elsewhere = operator(node) == "linear" and len(shape(node) or ()) != 2  # the norm's channels are not the layer's
    if call["input"] is not node or mean is None or var is None or elsewhere:
        return None, node
    own = [arguments(node)["weight"], *(call[k] for k in ("weight", "bias", "running_mean", "running_var"))]
    if any(isinstance(tensor, fx.Node) and len(tensor.users) > 1 for tensor in own):
        return None, node  # the norm serves another layer, or the weight another norm: one fold cannot be both
    norm = NormNames(
        weight=_tensor(capture, call["weight"]), bias=_tensor(capture, call["bias"]), running_mean=mean,
        running_var=var, eps=float(call["eps"]), node=after.name,
    )  # fmt: skip
    if operator(after) != "batch_norm":  # several results: the normalised tensor is the first
        after = next(u for u in after.users if u.args[1] == 0)
    return norm, after
