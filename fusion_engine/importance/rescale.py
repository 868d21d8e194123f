"""DeepLIFT's rescale rule on a traced graph.

The batch holds the samples and then, once more as many, their baselines. Every nonlinear operator keeps its value
but gets another derivative: the slope between baseline and sample, delta out / delta in. One backward pass
through the changed graph then yields DeepLIFT multipliers instead of gradients.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from ..core.errors import UnsupportedModelError
from ..graph import BATCH_NORMS, Trace, arguments, dependents, is_symbolic, module_path, operator

_EPSILON = 1e-10  # inputs that differ by less: the gradient itself
_LINEAR = """
    add sub rsub neg sum mean cat stack view reshape _unsafe_view flatten unflatten permute transpose t numpy_T mT
    squeeze unsqueeze expand expand_as select slice narrow split split_with_sizes chunk unbind unfold movedim flip roll
    index index_select repeat tile contiguous clone detach alias to _to_copy type_as dropout feature_dropout
    alpha_dropout pad constant_pad_nd avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d _adaptive_avg_pool2d upsample_nearest2d upsample_bilinear2d pixel_shuffle pixel_unshuffle
    channel_shuffle cumsum masked_fill
"""
# Linear in each factor alone: fine while at most one factor depends on the input.
_PRODUCTS = {
    **dict.fromkeys(["linear", "conv1d", "conv2d", "conv3d", "convolution"], ("input", "weight")),
    **dict.fromkeys(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"], ("input", "weight")),
    **dict.fromkeys(["mul", "matmul"], ("self", "other")),
    **dict.fromkeys(["mm", "bmm"], ("self", "mat2")),
    "addmm": ("mat1", "mat2"),
}
_ELEMENTWISE = """
    relu relu6 leaky_relu prelu elu selu celu gelu silu mish sigmoid tanh softplus log_sigmoid hardtanh hardswish
    hardsigmoid clamp clamp_min abs exp
"""
_MAX_POOLS = frozenset(["max_pool1d", "max_pool2d", "max_pool3d"])


def with_rescale_rule(trace: Trace, sources: Collection[str] | None = None) -> Trace:
    """The same trace with rescale derivatives; its programs take batches of samples, then baselines.

    sources: nodes that samples and baselines begin at; None: the model's inputs. Raises UnsupportedModelError, which
    names the operator, where the rule is not defined.
    """
    begin = set(trace.inputs if sources is None else sources)
    variable = dependents(trace.capture.graph, begin)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in trace.capture.graph.nodes:
        copy = copies[node] = graph.node_copy(node, lambda n: copies[n])
        if node.op != "call_function" or node.name not in variable or node.name in begin or is_symbolic(node):
            continue
        rule = _rule(node, variable)
        if rule is not None:
            copy.args = (node.target, *copy.args)
            copy.target = rule
    return replace(trace, capture=replace(trace.capture, graph=graph, strands=2))


def _rule(node: fx.Node, variable: set[str]) -> Callable[..., Tensor] | None:
    """The replacement of a nonlinear operator, None for a linear one."""
    name = operator(node)
    varying = {i.name for i in node.all_input_nodes if i.name in variable and not is_symbolic(i)}
    if name in _PRODUCTS:
        call = arguments(node)
        factors = [call[f] for f in _PRODUCTS[name]]
        if sum(isinstance(f, fx.Node) and f.name in varying for f in factors) <= 1:
            return None
    elif name == "div":
        divisor = arguments(node)["other"]
        if not (isinstance(divisor, fx.Node) and divisor.name in varying):
            return None
    elif name in BATCH_NORMS:
        return None  # fixed statistics in eval mode: affine
    elif name in _LINEAR.split() or not isinstance(node.target, torch._ops.OpOverload):
        return None  # the rest are tuple accesses
    elif name in _ELEMENTWISE.split() and len(varying) == 1:
        return _elementwise
    elif name in {"softmax", "_softmax"}:
        return _softmax
    elif name in _MAX_POOLS:
        return _max_pool
    where = f" (in {module_path(node)})" if module_path(node) else ""
    raise UnsupportedModelError(
        f"DeepLIFT has no rule for the operator {name!r}{where}; use the importance method 'conductance' instead"
    )


# ---- operators with rescale derivatives. `ghost` is 0 with the derivative of x: value + slope * ghost has the
# operator's value and the derivative `slope`.


def _difference(t: Tensor) -> Tensor:
    """Sample minus baseline, for both halves of the batch."""
    sample, baseline = t.chunk(2)
    difference = sample - baseline
    return torch.cat([difference, difference])


def _slope(op: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Value of an operator, and delta out / delta in (the gradient of its sum where delta in vanishes)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = op(leaf, *args, **kwargs)
        (gradient,) = torch.autograd.grad(y.sum(), leaf)
    y = y.detach()
    delta = _difference(leaf.detach())
    small = delta.abs() < _EPSILON
    return y, torch.where(small, gradient, _difference(y) / torch.where(small, 1.0, delta))


def _elementwise(op: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    y, slope = _slope(op, x, args, kwargs)
    return y + slope * (x - x.detach())


def _softmax(op: Any, x: Tensor, dim: int, *args: Any, **kwargs: Any) -> Tensor:
    """Multipliers are centred along `dim` (section 3.6 of the paper), since softmax ignores a common shift."""
    y, slope = _slope(op, x, (dim, *args), kwargs)
    ghost = x - x.detach()
    return y + slope * (ghost - ghost.mean(dim, keepdim=True))


def _max_pool(op: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Change of the maximum, split at the larger of both maxima between the two places it moved between.

    From the baseline's maximum up to the larger one it is credited to the sample's place, from there to the
    sample's maximum to the baseline's place, as captum does.
    """
    fixed = x.detach()
    y, places = _pool_with_indices(op, fixed, *args, **kwargs)
    sample, baseline = y.chunk(2)
    larger = torch.maximum(sample, baseline)
    change = torch.cat([larger - baseline, sample - larger])
    delta = _difference(fixed)
    small = delta.abs() < _EPSILON
    ghost = x - fixed
    per_unit = torch.where(small, 0.0, ghost / torch.where(small, 1.0, delta))
    both = per_unit.view(2, -1, *x.shape[1:]).sum(0).repeat(2, *[1] * (x.ndim - 1))
    return y + change * _pick(both, places) + _pick(torch.where(small, ghost, 0.0), places)


def _pool_with_indices(op: Any, x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    pool = getattr(torch.nn.functional, op._schema.name.split("::")[-1])
    names = [a.name for a in op._schema.arguments][1:]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    result: tuple[Tensor, Tensor] = pool(x, **{**given, "stride": given.get("stride") or None}, return_indices=True)
    return result


def _pick(values: Tensor, places: Tensor) -> Tensor:
    """Entries at flat spatial indices, as max_pool returns them."""
    spatial = values.ndim - 2
    return values.flatten(-spatial).gather(-1, places.flatten(-spatial)).view_as(places)
