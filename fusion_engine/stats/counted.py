"""Which rows of an activation belong to positions that count: padded tokens are no samples of anything."""

from collections.abc import Collection, Sequence

from torch import Tensor

from ..graph import Trace


def counted_at(
    trace: Trace, node: str, counted: Tensor | None, size: Sequence[int], channels: Collection[int]
) -> Tensor | None:
    """The mask of positions at a node, bool, broadcastable to a tensor of shape `size` there; None where all entries
    count, or none has a position of its own (pooled features).

    counted: (n, T), of the batch's n samples. channels: dimensions that run over neurons. Of several other dimensions
    of T entries the last is the positions' (attention heads come before them). Samples and positions in one dimension
    follow each other sample by sample.
    """
    if counted is None:
        return None
    n, length = counted.shape
    neurons = {dim % len(size) for dim in channels}
    free = [dim for dim in range(len(size)) if dim not in neurons]
    place = trace.capture.place(node)
    if place is None or place.dim not in free:
        joined = next((dim for dim in free if size[dim] == n * length), None)
        return None if joined is None or n < 1 else _along(counted.reshape(-1), joined, size)
    found = [dim for dim in free if dim != place.dim and size[dim] == length]
    entries = size[place.dim] // n
    if not found:
        is_joined = entries == length and size[place.dim] == n * length
        return _along(counted.reshape(-1), place.dim, size) if is_joined else None
    mask = counted.repeat_interleave(entries, 0)
    if place.dim > found[-1]:
        mask = mask.T
    return mask.reshape([size[dim] if dim in (place.dim, found[-1]) else 1 for dim in range(len(size))])


def counted_rows(
    trace: Trace, node: str, counted: Tensor | None, size: Sequence[int], channels: Collection[int]
) -> Tensor | None:
    """(rows,) bool: `counted_at` of the rows that the dimensions other than `channels` make, in order; None if all
    count."""
    mask = counted_at(trace, node, counted, size, channels)
    if mask is None:
        return None
    neurons = {dim % len(size) for dim in channels}
    rows = mask.expand([1 if dim in neurons else size[dim] for dim in range(len(size))]).reshape(-1)
    return None if bool(rows.all()) else rows


def linear_rows(trace: Trace, node: str, counted: Tensor | None, x: Tensor) -> Tensor | None:
    """(rows,) bool for the rows of a linear layer's tensor x (..., width) at a node; None if all count."""
    return counted_rows(trace, node, counted, x.shape, (x.dim() - 1,))


def _along(mask: Tensor, dim: int, size: Sequence[int]) -> Tensor:
    return mask.reshape([len(mask) if d == dim else 1 for d in range(len(size))])

