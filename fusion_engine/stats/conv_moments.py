"""Moments of a stride-1 convolution's patches without unfolding them.

Entry ((c, a), (c', b)) of X^T X, a and b kernel offsets, is sum_p x_c(p + a) x_c'(p + b) over output positions p. With
q = p + a it depends on b - a alone, but for the few q near the border that no p reaches. So instead of
k^2 (k^2 + 1) / 2 products of channels (45 for a 3 x 3 kernel) the correlations at 13 displacements suffice, plus those
of border rows, columns and corners, which are subtracted: about a third of the work of a symmetric product, and no
copies of patches.
"""

import math

import torch
from torch import Tensor

from ..core.types import Layer
from .moments import CrossAccumulator, bordered
from .rows import each_dimension

Span = tuple[int, int]
_ROWS = 8192  # float32 products are summed over about this many rows before they go to float64


class ConvMoments:
    """X^T X, X^T F and sums of a 2-d convolution's patches X (rows, channels * kernel) and features F (rows, m).

    Same interface as `CrossAccumulator`. Products are taken in float32 and summed in float64. With m = 0 there are no
    features, and only X is known.
    """

    @staticmethod
    def applies(layer: Layer, weight_shape: tuple[int, ...]) -> bool:
        """Whether `layer` is an ungrouped 2-d convolution of stride and dilation 1 that keeps the map's size."""
        if layer.kind != "conv" or len(weight_shape) != 4 or layer.options.get("transposed"):
            return False
        plain = all(each_dimension(layer, key, 2, 1) == (1, 1) for key in ("stride", "dilation"))
        half = tuple((k - 1) // 2 for k in weight_shape[2:])
        odd = all(k % 2 for k in weight_shape[2:])
        padding = layer.options.get("padding", 0)
        keeps = padding == "same" or (not isinstance(padding, str) and each_dimension(layer, "padding", 2, 0) == half)
        return plain and odd and keeps and layer.options.get("groups", 1) == 1

    def __init__(self, channels: int, kernel: tuple[int, int], m: int) -> None:
        self.channels, self.m = channels, m
        self.offsets = [(y - kernel[0] // 2, x - kernel[1] // 2) for y in range(kernel[0]) for x in range(kernel[1])]
        self.count = 0
        self._terms: dict[tuple[Span, Span, int, int], Tensor] = {}
        self._cross: dict[tuple[int, int], Tensor] = {}
        self._sums: dict[tuple[int, int], Tensor] = {}
        self._f_sum: Tensor | float = 0.0
        self._size = (0, 0)

    def update(self, x: Tensor, f: Tensor) -> None:
        """Add inputs x (samples, channels, h, w) and features f (samples * h * w, m), rows in position order."""
        height, width = x.shape[2:]
        self._size = (height, width)
        f = f.reshape(len(x), height, width, self.m)
        step = max(1, _ROWS // (height * width))
        for part, features in zip(x.split(step), f.split(step), strict=True):
            self._add(part.permute(0, 2, 3, 1).float().contiguous(), features.float())
        self.count += len(x) * height * width

    def _add(self, x: Tensor, f: Tensor) -> None:
        everywhere = (0, self._size[0]), (0, self._size[1])
        for i, a in enumerate(self.offsets):
            for b in self.offsets[i:]:
                for _, key in self._pieces(a, b):
                    self._terms.setdefault(key, torch.zeros((), dtype=torch.float64))
        for key, term in self._terms.items():
            self._terms[key] = term.to(x.device) + _correlate(x, x, *key)
        pixel_sums = x.sum(0).double()
        for a in self.offsets:
            # sum_p x(p + a) f(p)^T = sum_q x(q) f(q - a)^T
            if self.m:
                added = _correlate(x, f, *everywhere, -a[0], -a[1])
                self._cross[a] = self._cross[a] + added if a in self._cross else added.double()
            rows, columns = _inside(everywhere[0], self._size[0], -a[0]), _inside(everywhere[1], self._size[1], -a[1])
            total = pixel_sums[slice(*rows), slice(*columns)].sum((0, 1))
            self._sums[a] = self._sums[a] + total if a in self._sums else total
        self._f_sum = self._f_sum + f.sum((0, 1, 2)).double()

    def _pieces(self, a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, tuple[Span, Span, int, int]]]:
        """Block (a, b) as signed correlations: everything, minus border rows, minus columns, plus corners."""
        height, width = self._size
        dy, dx = b[0] - a[0], b[1] - a[1]
        rows, columns = _beyond(a[0], height), _beyond(a[1], width)
        pieces: list[tuple[int, tuple[Span, Span, int, int]]] = [(1, ((0, height), (0, width), dy, dx))]
        if rows:
            pieces.append((-1, (rows, (0, width), dy, dx)))
        if columns:
            pieces.append((-1, ((0, height), columns, dy, dx)))
        if rows and columns:
            pieces.append((1, (rows, columns, dy, dx)))
        return [(sign, key) for sign, key in pieces if not _empty(key, height, width)]

    @property
    def d(self) -> int:
        """Columns of X."""
        return self.channels * len(self.offsets)

    @property
    def xx(self) -> Tensor:
        """X^T X, (d, d), columns in the order of weight.reshape(out, -1)."""
        kk = len(self.offsets)
        device = next(iter(self._terms.values())).device
        full = torch.zeros(self.channels, kk, self.channels, kk, dtype=torch.float64, device=device)
        for i, a in enumerate(self.offsets):
            for j in range(i, kk):
                block = sum(sign * self._terms[key] for sign, key in self._pieces(a, self.offsets[j]))
                full[:, i, :, j] = block
                if j > i:
                    full[:, j, :, i] = block.T if isinstance(block, Tensor) else 0.0
        return full.reshape(self.d, self.d)

    @property
    def xf(self) -> Tensor:
        """X^T F, (d, m)."""
        return torch.stack([self._cross[a] for a in self.offsets], 1).reshape(self.d, self.m)

    @property
    def x_sum(self) -> Tensor:
        """Column sums of X, (d,)."""
        return torch.stack([self._sums[a] for a in self.offsets], 1).reshape(self.d)

    def with_bias(self) -> tuple[Tensor, Tensor]:
        """[X 1]^T [X 1], (d + 1, d + 1), and [X 1]^T F, (d + 1, m): the bias comes last."""
        xx = bordered(self.xx, self.x_sum, self.count)
        return xx, torch.cat([self.xf, torch.as_tensor(self._f_sum)[None]])


def input_moments(layer: Layer, shape: tuple[int, ...], m: int) -> ConvMoments | CrossAccumulator:
    """Moments of a layer's inputs and of m features. shape: the weight's."""
    if ConvMoments.applies(layer, shape):
        return ConvMoments(shape[1], (shape[2], shape[3]), m)
    return CrossAccumulator(math.prod(shape[1:]), m, precision="mixed")


def _correlate(x: Tensor, f: Tensor, rows: Span, columns: Span, dy: int, dx: int) -> Tensor:
    """sum over q in rows x columns with q + (dy, dx) on the map of x(q) f(q + (dy, dx))^T."""
    rows, columns = _inside(rows, x.shape[1], dy), _inside(columns, x.shape[2], dx)
    left = x[:, slice(*rows), slice(*columns)].reshape(-1, x.shape[3])
    right = f[:, rows[0] + dy : rows[1] + dy, columns[0] + dx : columns[1] + dx].reshape(-1, f.shape[3])
    return left.T @ right


def _inside(span: Span, size: int, shift: int) -> Span:
    """The part of `span` that stays on the map when shifted; (0, 0) if none does."""
    start, stop = max(span[0], -shift), min(span[1], size - shift)
    return (start, stop) if start < stop else (0, 0)


def _empty(key: tuple[Span, Span, int, int], height: int, width: int) -> bool:
    rows, columns, dy, dx = key
    return 0 in (math.prod(_inside(rows, height, dy)[1:]), math.prod(_inside(columns, width, dx)[1:]))


def _beyond(offset: int, size: int) -> Span | None:
    """Positions q that are q = p + offset for no p on the map; None where there are none."""
    if offset > 0:
        return 0, min(offset, size)
    return (max(size + offset, 0), size) if offset < 0 else None
