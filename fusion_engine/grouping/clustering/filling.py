"""What k-means does where points coincide: groups that would stay empty get a point all the same."""

from collections.abc import Sequence

import numpy as np

from ...core.types import Array, Indices


def fill_empty(labels: Indices, served: Array, groups: int) -> None:
    """Give each empty group, in place, the worst-served neuron of a group that has more than one."""
    sizes = np.bincount(labels, minlength=groups)
    if sizes.all():
        return
    order = iter(np.argsort(-served, kind="stable"))
    for group in np.flatnonzero(sizes == 0):
        neuron = next(i for i in order if sizes[labels[i]] > 1)
        sizes[labels[neuron]] -= 1
        labels[neuron] = group
        sizes[group] = 1


def free_points(count: int, chosen: Sequence[int]) -> list[int]:
    """Points that are no centre yet, in order: where every other coincides with a centre, any of them will do."""
    found: list[int] = np.setdiff1d(np.arange(count), chosen).tolist()
    return found
