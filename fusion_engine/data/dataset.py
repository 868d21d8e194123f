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
from ..core.types import TASKS

if TYPE_CHECKING:
    import numpy as np

MAX_CLASSES = 100_000
"""More are a mistake, or an attack: counts by class and outputs would take the machine's memory."""

Indices = slice | Sequence[int] | Tensor


IGNORED = -100
"""The label of a position that does not count (PyTorch's ignore_index)."""

_MASKS = {"attention_mask": False, "mask": False, "padding_mask": True, "key_padding_mask": True}
"""Names of inputs that say which positions count, and whether 1 is a position that does not."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples `x` (N, ...) uint8 or float32, or int64 tokens, and labels `y` or None. Checked, never changed.

    y: int64 classes, (N,) one a sample or (N, ...) one a position, IGNORED where none counts; or float32 values to
    predict, (N,) or (N, m). mean, std: (C,) float32 per channel (dimension 1 of x, or one value for all), or None.
    classes: number of classes, at most MAX_CLASSES; labels lie in [0, classes). inputs: names of token inputs; of
    several x is (N, inputs, T), in their order. task: one of TASKS, or 'auto': told by labels and outputs. Raises
    DataError on anything else.
    """

    x: Tensor
    y: Tensor | None
    mean: Tensor | None = None
    std: Tensor | None = None
    classes: int = 0
    name: str = "data"
    inputs: tuple[str, ...] = ()
    task: str = "auto"

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise DataError(f"{self.name}: {problem}")

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def is_classified(self) -> bool:
        """Whether every sample has one class."""
        return self.y is not None and self.y.dtype == torch.int64 and self.y.ndim == 1

    @property
    def tokens(self) -> tuple[str, ...]:
        """Names of the token inputs; none for real-valued samples."""
        return self.inputs or (("input_ids",) if self.x.dtype == torch.int64 else ())

    def part(self, x: Tensor, name: str) -> Tensor | None:
        """One of the named inputs (n, T) of samples x of this data; None if there is none of this name."""
        if name not in self.tokens:
            return None
        return x[:, self.inputs.index(name)] if len(self.inputs) > 1 else x

    def counted(self, x: Tensor) -> Tensor | None:
        """(n, T) bool: which positions of samples x of this data count by their mask; None if all do."""
        for name, inverted in _MASKS.items():
            mask = self.part(x, name) if len(self.inputs) > 1 else None
            if mask is not None:
                counted = (mask == 0) if inverted else (mask != 0)
                return None if bool(counted.all()) else counted
        return None

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
        if not self.is_classified:
            raise DataError(f"{self.name}: this needs one class a sample, and the labels are of another kind")
        return torch.bincount(self.y, minlength=self.classes).numpy()

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of types, shapes and contents; the name does not count."""
        sha = hashlib.sha256(f"classes={self.classes}".encode())
        if self.inputs or self.task != "auto":
            sha.update(f"inputs={self.inputs} task={self.task}".encode())
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
        yield from self._wrong_inputs()
        if y is not None:
            yield from self._wrong_labels(y)
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

    def _wrong_labels(self, y: Tensor) -> Iterator[str]:
        if y.dtype not in (torch.int64, torch.float32) or not y.ndim or 0 in y.shape[1:]:
            yield "y must hold whole numbers, classes of samples or of positions, or float32 values to predict"
        if len(y) != len(self.x):
            yield f"{len(self.x)} samples but {len(y)} labels"
        if y.dtype == torch.float32:
            if y.ndim > 2:
                yield f"values to predict must be (samples,) or (samples, values), not {tuple(y.shape)}"
            if not torch.isfinite(y).all():
                yield "y holds NaN or infinite values"
            return
        counted = y if y.ndim == 1 else y[y != IGNORED]
        if not len(counted):
            yield f"no label counts: all are {IGNORED}"
        if int(counted.min()) < 0:
            more = "" if y.ndim == 1 else f" (but for {IGNORED}: a position that does not count)"
            yield f"labels must not be negative{more}, and the smallest is {int(counted.min())}"
        if int(counted.max()) >= self.classes:
            yield f"a label is {int(counted.max())}, but there are {self.classes} classes, numbered from 0"

    def _wrong_inputs(self) -> Iterator[str]:
        x, names = self.x, self.inputs
        if self.task != "auto" and self.task not in TASKS:
            yield f"there is no task {self.task!r}; there are {', '.join(TASKS)}"
        if not names:
            return
        if x.dtype != torch.int64:
            yield "only token inputs have names"
        if len(set(names)) != len(names) or (len(names) > 1 and (x.ndim != 3 or x.shape[1] != len(names))):
            yield f"x has shape {tuple(x.shape)}, which does not go with the inputs {', '.join(names)}"
        counted = self.counted(x)
        if counted is not None and not bool(counted.any(1).all()):
            yield f"sample {int((~counted.any(1)).nonzero()[0])} is masked from end to end"
