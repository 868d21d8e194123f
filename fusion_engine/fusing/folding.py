"""Read and write a layer together with the batch norm behind it, as one linear map (exact in eval mode)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ..core.types import Layer, State


def read_layer(state: State, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """Effective weight, shape of the layer's own, and bias (out,) or None, in float64, batch norm folded in:

    gamma (W x + b - mu) / sqrt(var + eps) + beta.
    """
    weight = state[layer.weight].double()
    bias = None if layer.bias is None else state[layer.bias].double()
    norm = layer.norm
    if norm is None:
        return weight, bias
    scale = (state[norm.running_var].double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * state[norm.weight].double()
    shift = -state[norm.running_mean].double() if bias is None else bias - state[norm.running_mean].double()
    folded = shift * scale
    if norm.bias is not None:
        folded = folded + state[norm.bias].double()
    return weight * per_channel(scale, layer, weight), folded


def write_layer(state: dict[str, Tensor], layer: Layer, weight: Tensor, bias: Tensor | None) -> None:
    """Put an effective weight and bias into `state`, which keeps all its tensors and their types.

    A batch norm is left as the identity: mean 0, variance 1, weight sqrt(1 + eps), and the bias in its own bias, so
    that the architecture stays the parents'. Where it lacks a weight or a bias, the layer's weight or the norm's mean
    makes up for it.
    """
    norm = layer.norm
    if norm is None:
        _put(state, layer.weight, weight)
        if layer.bias is not None and bias is not None:
            _put(state, layer.bias, bias)
        return
    root = (1 + norm.eps) ** 0.5
    scale = root if norm.weight is None else 1.0
    bias = torch.zeros_like(state[norm.running_mean]) if bias is None else bias
    _put(state, layer.weight, weight * scale)
    if layer.bias is not None:
        _put(state, layer.bias, torch.zeros_like(state[layer.bias]))
    if norm.weight is not None:
        _put(state, norm.weight, torch.full_like(state[norm.weight], root))
    if norm.bias is not None:
        _put(state, norm.bias, bias)
    _put(state, norm.running_mean, -bias * scale if norm.bias is None else torch.zeros_like(bias))
    _put(state, norm.running_var, torch.ones_like(state[norm.running_var]))


def read_rows(state: State, layer: Layer) -> Tensor:
    """Effective weight and bias as one matrix (n, d [+1 with the bias last]), float64."""
    weight, bias = read_layer(state, layer)
    flat = weight.reshape(len(weight), -1)
    return flat if bias is None else torch.cat([flat, bias[:, None]], 1)


def write_rows(state: dict[str, Tensor], layer: Layer, rows: Tensor) -> None:
    """`write_layer` of such a matrix."""
    write_layer(state, layer, *((rows[:, :-1], rows[:, -1]) if layer.has_bias else (rows, None)))


def fold_norms(state: State, layers: Iterable[Layer]) -> dict[str, Tensor]:
    """A new state with the same function in eval mode, every batch norm behind a layer folded into it."""
    folded = dict(state)
    for layer in layers:
        if layer.norm is not None:
            write_layer(folded, layer, *read_layer(state, layer))
    return folded


def per_channel(scale: Tensor, layer: Layer, weight: Tensor) -> Tensor:
    """`scale` shaped to multiply the output channels of `weight`."""
    if layer.options.get("transposed"):
        groups = int(layer.options.get("groups", 1))
        # Transposed weights are (in, out / groups, ...): group g of the inputs makes group g of the outputs.
        spread = scale.reshape(groups, 1, -1).expand(groups, weight.shape[0] // groups, -1)
        return spread.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def _put(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    old = state[name]
    state[name] = value.reshape(old.shape).to(old)
