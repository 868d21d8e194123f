"""Merge and unmerge matrices of groups too large to be kept: made from the labels whenever they are read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from ..types import Array, Indices

_KEPT = 2**24  # entries of all parents' matrices up to which they are kept: 128 MiB in float64


class LabelMatrices(Sequence[np.ndarray]):
    """Per parent the (n, n_p) float64 matrix with entry values[p][i] at (labels[p][i], i), or its transpose (n_p, n).

    Every reading makes a new matrix; `entries` gives what is not zero without making one.
    """

    def __init__(
        self, labels: Sequence["Indices"], values: Sequence["Array"], groups: int, *, transposed: bool = False
    ) -> None:
        self._labels, self._values, self._groups, self._transposed = tuple(labels), tuple(values), groups, transposed

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, p: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, p: slice) -> tuple[np.ndarray, ...]: ...

    def __getitem__(self, p: int | slice) -> np.ndarray | tuple[np.ndarray, ...]:
        if isinstance(p, slice):
            return tuple(self[q] for q in range(*p.indices(len(self))))
        labels = self._labels[p]
        matrix = np.zeros((len(labels), self._groups) if self._transposed else (self._groups, len(labels)))
        rows, columns = np.arange(len(labels)), labels
        if not self._transposed:
            rows, columns = columns, rows
        matrix[rows, columns] = self._values[p]
        return matrix

    def shape(self, p: int) -> tuple[int, int]:
        """Of parent p's matrix."""
        size = len(self._labels[p])
        return (size, self._groups) if self._transposed else (self._groups, size)

    def entries(self, p: int) -> tuple["Indices", "Indices", "Array"]:
        """Rows, columns and values of what is not zero, in the order of `np.nonzero`."""
        labels, values = self._labels[p], self._values[p]
        order = np.arange(len(labels)) if self._transposed else np.argsort(labels, kind="stable")
        order = order[values[order] != 0]
        groups = labels[order]
        return (order, groups, values[order]) if self._transposed else (groups, order, values[order])

    def only(self, p: int, values: "Array | None" = None) -> "LabelMatrices":
        """Parent p's matrix alone, with other values if they are given."""
        given = self._values[p] if values is None else values
        return LabelMatrices([self._labels[p]], [given], self._groups, transposed=self._transposed)

    def labels(self, p: int) -> "Indices":
        """(n_p,) groups of parent p's neurons."""
        return self._labels[p]

    def value(self, p: int) -> "Array":
        """(n_p,) what parent p's matrix holds for each of its neurons."""
        return self._values[p]


def label_matrices(
    labels: Sequence["Indices"], values: Sequence["Array"], groups: int
) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
    """Merge matrices with these values, and unmerge matrices of ones: kept, or made when read where they are large."""
    merge = LabelMatrices(labels, values, groups)
    unmerge = LabelMatrices(labels, [np.ones(len(own)) for own in labels], groups, transposed=True)
    if groups * sum(map(len, labels)) > _KEPT:
        return merge, unmerge
    return tuple(merge), tuple(unmerge)
