"""Put the fused neurons in the first parent's order, so that its weights can be the start of training."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..core.types import Grouping
from ..graph import Trace, permute_state


def keeps_first_width(groupings: Mapping[str, Grouping]) -> bool:
    """Whether the fused model is as wide as the first parent, everywhere."""
    return all(g.merge[0].shape[0] == g.merge[0].shape[1] for g in groupings.values())


def align_to_first(
    trace: Trace, groupings: Mapping[str, Grouping], state: Mapping[str, Tensor]
) -> tuple[dict[str, Grouping], dict[str, Tensor]]:
    """The groupings, and a fused state that belongs to them, with the groups in another order.

    Fused neuron i becomes a group that holds the first parent's neuron i wherever the groups allow it: linear sum
    assignment on the first parent's merge weights. Groups without a neuron of the first parent take what is left.
    """
    ordered, permuted = dict(groupings), dict(state)
    for name, grouping in groupings.items():
        groups, neurons = linear_sum_assignment(np.abs(grouping.merge[0]), maximize=True)
        order = groups[np.argsort(neurons)]  # new group j is old group order[j]
        if (order == np.arange(len(order))).all():
            continue
        place = np.append(np.argsort(order), -1)  # label -1 (no group) stays -1
        ordered[name] = replace(
            grouping,
            merge=tuple(m[order] for m in grouping.merge),
            unmerge=tuple(u[:, order] for u in grouping.unmerge),
            labels=None if grouping.labels is None else tuple(place[x] for x in grouping.labels),
        )
        permuted.update(permute_state(permuted, trace.spaces[name], order, trace))
    return ordered, permuted
