"""Streaming second moments in float64: memory does not grow with the number of rows.

Sums are kept about a provisional shift (the mean of the first rows seen), so that badly offset data lose no
digits (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", shifted data). The result
does not depend on how the rows were cut into batches, or on their order, beyond rounding in float64.
"""

from typing import Any, Literal

import numpy as np
import torch
from scipy.linalg import blas
from torch import Tensor

Precision = Literal["double", "mixed"]
"""'double': all products in float64. 'mixed': large products in float32, summed in float64 (about 1e-6)."""

_CHUNK_BYTES = 32 * 2**20  # working copy of the rows in float64
_SHIFT_ROWS = 1024  # any rough mean serves as the shift
_MIXED_ROWS = 4096  # rows whose float32 products are summed before they go to float64; more if they are narrow
_MAP_POSITIONS = 64  # positions from which one product a sample runs at full speed
_MIXED_WORK = 2**26  # rows * width^2 below which 'mixed' stays in float64: nothing to gain there


class GramAccumulator:
    """Count, sum and sum of outer products of rows (rows, width), in float64.

    Rows on a CUDA device are accumulated there, all others on the CPU.
    """

    def __init__(self, width: int, *, precision: Precision = "double") -> None:
        self.width = width
        self.precision = precision
        self.count = 0
        self._shift: Tensor | None = None
        self._sum = torch.zeros(width, dtype=torch.float64)  # of shifted rows
        self._products = _Products(width)  # of shifted rows

    def update(self, rows: Tensor) -> None:
        """Add rows (rows, width) of any float type; either memory layout is taken without a copy."""
        rows = _checked(rows, self.width)
        if not len(rows):
            return
        single = _is_single(self.precision, rows, self.width**2)
        if self._shift is None:
            self._shift = _provisional_shift(rows, single)
            self._sum = self._sum.to(rows.device)
            self._products.to(rows.device)
        for chunk in rows.split(_chunk_rows(self.width, single)):
            shifted = _shifted(chunk, self._shift, single)
            self._sum += shifted.sum(0).double()
            self._products.add(shifted)
        self.count += len(rows)

    def update_maps(self, maps: Tensor) -> None:
        """Add rows given as maps (samples, width, positions): one row a sample and position.

        Where float32 products are allowed, large maps are multiplied as they lie, without a copy into rows.
        """
        samples, width, positions = maps.shape
        whole = positions >= _MAP_POSITIONS and (self._shift is None or not bool(self._shift.any()))
        if self.precision != "mixed" or not whole or maps.device.type != "cpu":
            self.update(maps.movedim(1, -1).reshape(-1, width))
            return
        if self._shift is None:
            self._shift = torch.zeros(width, dtype=torch.float64)
        for part in maps.float().split(max(1, 2**22 // width**2)):
            products = torch.bmm(part, part.transpose(1, 2))
            self._products.add_full(products[0] if len(products) == 1 else products.sum(0))
            self._sum += part.sum((0, 2)).double()
        self.count += samples * positions

    @property
    def sum(self) -> Tensor:
        """Sum of the rows, (width,) float64."""
        return self._sum if self._shift is None else self._sum + self.count * self._shift

    @property
    def mean(self) -> Tensor:
        """Mean row, (width,) float64; zeros if nothing was seen."""
        return self.sum / max(self.count, 1)

    @property
    def gram(self) -> Tensor:
        """Raw second moment sum_r f_r f_r^T, (width, width) float64, exactly symmetric."""
        full = self._products.full()
        if self._shift is None:
            return full
        cross = torch.outer(self._sum, self._shift)
        return full + (cross + cross.T) + self.count * torch.outer(self._shift, self._shift)


class CrossAccumulator:
    """X^T X and X^T F of rows X (rows, d) and F (rows, m), with sums: what ridge regression needs. float64.

    A bias needs no column of ones: `with_bias` borders the moments with the sums.
    """

    def __init__(self, d: int, m: int, *, precision: Precision = "double") -> None:
        self._x = GramAccumulator(d, precision=precision)
        self.d, self.m = d, m
        self._f_shift: Tensor | None = None
        self._f_sum = torch.zeros(m, dtype=torch.float64)
        self._cross = torch.zeros(d, m, dtype=torch.float64)  # of shifted rows

    @property
    def count(self) -> int:
        """Number of rows seen."""
        return self._x.count

    def update(self, x: Tensor, f: Tensor) -> None:
        """Add rows x (rows, d) and f (rows, m), row by row belonging together."""
        x, f = _checked(x, self.d), _checked(f, self.m)
        if len(x) != len(f):
            raise ValueError(f"{len(x)} input rows do not go with {len(f)} feature rows")
        if not len(x):
            return
        single = _is_single(self._x.precision, x, self.d * self.m)
        if self._f_shift is None:
            self._f_shift = _provisional_shift(f, single)
            self._f_sum, self._cross = self._f_sum.to(f.device), self._cross.to(f.device)
        self._x.update(x)
        assert self._x._shift is not None
        rows = _chunk_rows(max(self.d, self.m), single)
        for x_chunk, f_chunk in zip(x.split(rows), f.split(rows), strict=True):
            x_shifted, f_shifted = _shifted(x_chunk, self._x._shift, single), _shifted(f_chunk, self._f_shift, single)
            self._f_sum += f_shifted.sum(0).double()
            if single:
                self._cross += x_shifted.T @ f_shifted
            else:
                self._cross.addmm_(x_shifted.T, f_shifted)

    @property
    def xx(self) -> Tensor:
        """X^T X, (d, d)."""
        return self._x.gram

    @property
    def xf(self) -> Tensor:
        """X^T F, (d, m)."""
        if self._f_shift is None or self._x._shift is None:
            return self._cross
        a, b = self._x._shift, self._f_shift
        return self._cross + torch.outer(a, self._f_sum) + torch.outer(self._x._sum + self.count * a, b)

    @property
    def x_sum(self) -> Tensor:
        """Column sums of X, (d,)."""
        return self._x.sum

    @property
    def f_sum(self) -> Tensor:
        """Column sums of F, (m,)."""
        return self._f_sum if self._f_shift is None else self._f_sum + self.count * self._f_shift

    def with_bias(self) -> tuple[Tensor, Tensor]:
        """[X 1]^T [X 1], (d + 1, d + 1), and [X 1]^T F, (d + 1, m): the bias comes last."""
        return bordered(self.xx, self.x_sum, self.count), torch.cat([self.xf, self.f_sum[None]])


def bordered(xx: Tensor, x_sum: Tensor, count: int) -> Tensor:
    """[X 1]^T [X 1] from X^T X, the column sums and the number of rows."""
    full = torch.empty(len(xx) + 1, len(xx) + 1, dtype=torch.float64, device=xx.device)
    full[:-1, :-1], full[:-1, -1], full[-1, :-1], full[-1, -1] = xx, x_sum, x_sum, float(count)
    return full


class _Products:
    """Running sum of rows^T rows: BLAS syrk on the CPU (half the work of a plain product), matmul on CUDA."""

    def __init__(self, width: int) -> None:
        self._upper: Any = np.zeros((width, width), order="F")  # only the upper triangle is meaningful
        self._tensor: Tensor | None = None
        self._width = width

    def to(self, device: torch.device) -> None:
        if device.type != "cpu":
            self._tensor = torch.zeros(self._width, self._width, dtype=torch.float64, device=device)

    def add(self, rows: Tensor) -> None:
        """Add rows^T rows; float32 rows are multiplied in float32 and added in float64."""
        if self._tensor is not None:
            self._tensor += rows.T @ rows
            return
        by_row = rows.is_contiguous()
        if not by_row and not rows.T.is_contiguous():
            rows, by_row = rows.contiguous(), True
        a, trans = (rows.numpy().T, 0) if by_row else (rows.numpy(), 1)  # both are Fortran-ordered: no copy
        if rows.dtype == torch.float32:
            self._upper += blas.ssyrk(1.0, a, trans=trans)
        else:
            self._upper = blas.dsyrk(1.0, a, beta=1.0, c=self._upper, trans=trans, overwrite_c=1)

    def add_full(self, product: Tensor) -> None:
        """Add a symmetric matrix (on the CPU) of any float type, in float64."""
        torch.from_numpy(self._upper.T).add_(product)  # transposed both lie alike, which is some 15 times as fast

    def full(self) -> Tensor:
        """The symmetric sum, a new tensor."""
        if self._tensor is not None:
            return (self._tensor + self._tensor.T) / 2
        upper = np.triu(self._upper)
        return torch.from_numpy(upper + np.triu(upper, 1).T)


def _checked(rows: Tensor, width: int) -> Tensor:
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"expected rows of width {width}, got a tensor of shape {tuple(rows.shape)}")
    rows = rows.detach()
    return rows if rows.device.type in ("cpu", "cuda") else rows.cpu()  # e.g. mps has no float64


def _is_single(precision: Precision, rows: Tensor, work: int) -> bool:
    """Whether these rows are multiplied in float32; work: multiplications a row."""
    return precision == "mixed" and len(rows) * work > _MIXED_WORK


def _provisional_shift(rows: Tensor, single: bool) -> Tensor:
    """A rough mean, exact in float32. Zero in float32, whose rounding it would not help: that saves a copy."""
    if single:
        return torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    return rows[:_SHIFT_ROWS].mean(0, dtype=torch.float64).float().double()


def _shifted(rows: Tensor, shift: Tensor, single: bool) -> Tensor:
    if not single:
        return rows.double() - shift
    return rows.float() - shift.float() if bool(shift.any()) else rows.float()


def _chunk_rows(width: int, single: bool) -> int:
    # Float32 sums stay short enough for about 1e-6, and long enough for the product to run at full speed.
    return max(_MIXED_ROWS, 2**22 // width) if single else max(1, _CHUNK_BYTES // (8 * width))
