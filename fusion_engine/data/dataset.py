"""Dataset: samples and labels, with the normalisation that turns stored samples into network inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.errors import DataError

if TYPE_CHECKING:
    import numpy as np

MAX_CLASSES = 100_000
"""More are a mistake, or an attack: counts by class and outputs would take the machine's memory."""

Indices = slice | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples `x` (N, ...) uint8 or float32, or int64 tokens; labels `y` (N,) int64 or None. Checked, never changed.

    mean, std: (C,) float32 per channel (dimension 1 of x, or one value for all), or None.
    classes: number of classes, at most MAX_CLASSES; labels lie in [0, classes). Raises DataError on anything else.
    """

    x: Tensor
    y: Tensor | None
    mean: Tensor | None = None
    std: Tensor | None = None
    classes: int = 0
    name: str = "data"

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise DataError(f"{self.name}: {problem}")

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    def normalised(self, indices: Indices | None = None) -> Tensor:
        """Network inputs (n, ...) float32: uint8 scaled to [0, 1], then (x - mean) / std per channel. Tokens stay."""
        x = self.x if indices is None else self.x[indices]
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        if self.mean is None or self.std is None:
            return x
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x - self.mean.view(shape)) / self.std.view(shape)

    def batches(self, size: int = 512) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(inputs float32, labels or None) in order, `size` samples at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.normalised(part), None if self.y is None else self.y[part]

    def subset(self, indices: Indices) -> Dataset:
        """The samples at `indices`, in that order, with the same classes and normalisation."""
        if isinstance(indices, Sequence):
            indices = torch.as_tensor(indices, dtype=torch.int64)
        return replace(self, x=self.x[indices], y=None if self.y is None else self.y[indices])

    @cached_property
    def counts(self) -> np.ndarray:
        """(classes,) int64: samples of each class. DataError without labels."""
        if self.y is None:
            raise DataError(f"{self.name}: this needs labels, and the data has none (add an array y)")
        return torch.bincount(self.y, minlength=self.classes).numpy()

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of types, shapes and contents; the name does not count."""
        sha = hashlib.sha256(f"classes={self.classes}".encode())
        for key, tensor in (("x", self.x), ("y", self.y), ("mean", self.mean), ("std", self.std)):
            if tensor is not None:
                sha.update(f"{key}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
                sha.update(tensor.contiguous().numpy().data)
        return sha.hexdigest()

    def _problems(self) -> Iterator[str]:
        x, y = self.x, self.y
        if not 0 <= self.classes <= MAX_CLASSES:
            yield f"classes is {self.classes:,}; give the number of classes, at most {MAX_CLASSES:,}"
        if x.dtype not in (torch.uint8, torch.float32, torch.int64):
            yield f"x must be uint8 or float32 (or int64: tokens), not {str(x.dtype).removeprefix('torch.')}"
        if x.ndim < 2 or 0 in x.shape:
            yield f"x has shape {tuple(x.shape)}; it must be (samples, ...) with at least one sample"
        if x.dtype == torch.float32 and not torch.isfinite(x).all():
            yield "x holds NaN or infinite values"
        if y is not None:
            if y.dtype != torch.int64 or y.ndim != 1:
                yield "y must be one row of integers, one label a sample"
            if len(y) != len(x):
                yield f"{len(x)} samples but {len(y)} labels"
            if int(y.min()) < 0:
                yield f"labels must not be negative, and the smallest is {int(y.min())}"
            if int(y.max()) >= self.classes:
                yield f"a label is {int(y.max())}, but there are {self.classes} classes, numbered from 0"
        if (self.mean is None) != (self.std is None):
            yield "give both mean and std, or neither"
        if self.mean is not None and x.dtype == torch.int64:
            yield "tokens are not normalised; leave out mean and std"
        for key, value in (("mean", self.mean), ("std", self.std)):
            if value is None:
                continue
            if value.dtype != torch.float32 or value.ndim != 1 or len(value) not in (1, x.shape[1]):
                yield f"{key} must hold one number per channel ({x.shape[1]}), or one for all"
            if not torch.isfinite(value).all():
                yield f"{key} holds NaN or infinite values"
        if self.std is not None and not (self.std > 0).all():
            yield "every std must be above 0"
