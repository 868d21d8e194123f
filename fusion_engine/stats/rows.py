"""The inputs and outputs of a linear or convolution layer as matrices: one row a sample and position."""

import math
from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UnsupportedModelError
from ..core.types import Layer

_LIMIT_BYTES = 64 * 2**20


def layer_rows(
    layer: Layer, x: Tensor, weight_shape: Sequence[int] | None = None, *, limit_bytes: int = _LIMIT_BYTES
) -> Iterator[Tensor]:
    """Chunks (rows, d) of the layer's input `x`, so that rows @ weight.reshape(out, -1).T is its output.

    A linear layer's leading dimensions are flattened. A convolution's patches are unfolded, over any number of
    spatial dimensions, with columns ordered as in weight.reshape(out, -1); rows run over samples, then
    positions, as in `feature_rows`. With groups g > 1 all input channels are unfolded, and the columns of
    group j are the j-th of g equal stretches. A convolution needs `weight_shape`, (out, in / g, *kernel).

    Whole samples are unfolded, as many at once as fit in `limit_bytes` (one if none does). Raises
    UnsupportedModelError for a transposed convolution, whose outputs are no product of patches and weight.
    """
    if layer.kind == "linear":
        rows = x.reshape(-1, x.shape[-1])
        yield from rows.split(max(1, limit_bytes // (rows.shape[1] * x.element_size())))
        return
    if layer.options.get("transposed"):
        raise UnsupportedModelError(f"layer {layer.name} is a transposed convolution, which has no input patches")
    if weight_shape is None:
        raise ValueError(f"the weight shape of convolution {layer.name} is needed to unfold its input")
    kernel = tuple(weight_shape[2:])
    stride, dilation = (each_dimension(layer, key, len(kernel), 1) for key in ("stride", "dilation"))
    padding = _padding(layer, kernel, dilation)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    sizes = zip(x.shape[2:], spans, stride, padding, strict=True)
    positions = math.prod((size + sum(pad) - span) // step + 1 for size, span, step, pad in sizes)
    sample_bytes = positions * x.shape[1] * math.prod(kernel) * x.element_size()
    for part in x.split(max(1, limit_bytes // sample_bytes)):
        yield _patches(part, spans, stride, dilation, padding)


def feature_rows(layer: Layer, y: Tensor) -> Tensor:
    """(rows, channels) of the layer's output `y`, in the row order of `layer_rows`."""
    if layer.kind == "conv":
        y = y.movedim(1, -1)
    return y.reshape(-1, y.shape[-1])


def _patches(
    x: Tensor, spans: Sequence[int], stride: Sequence[int], dilation: Sequence[int], padding: Sequence[tuple[int, int]]
) -> Tensor:
    """Views all the way; the reshape at the end is the one copy."""
    if any(sum(pair) for pair in padding):
        x = F.pad(x, [p for pair in reversed(padding) for p in pair])
    n = len(spans)
    for axis, (span, step, hole) in enumerate(zip(spans, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, span, step)[..., ::hole]
    # (samples, channels, *positions, *kernel) -> (samples, *positions, channels, *kernel)
    x = x.movedim(1, 1 + n)
    return x.reshape(math.prod(x.shape[: 1 + n]), -1)


def each_dimension(layer: Layer, key: str, n: int, default: int) -> tuple[int, ...]:
    """An option as one number a spatial dimension."""
    value = layer.options.get(key, default)
    numbers = (value,) if isinstance(value, int) else tuple(int(v) for v in value)
    return numbers * n if len(numbers) == 1 else numbers


def _padding(layer: Layer, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after, by spatial dimension; 'same' puts the odd one after, as torch does."""
    padding = layer.options.get("padding", 0)
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in each_dimension(layer, "padding", len(kernel), 0)]
