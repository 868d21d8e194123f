"""One parent alone in the fused network's neurons: what a solver starts from that compares parents weight by weight."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..core.matrices import LabelMatrices
from ..core.types import Grouping, Layer, State
from ..graph import Trace, merge_outputs, merge_states
from .folding import read_layer


def parent_part(grouping: Grouping, parent: int) -> Grouping:
    """What brings one parent alone into the fused network's neurons: merge rows that sum to one where they name
    neurons (zero where a group has none of this parent's), and k times those of a soft grouping."""
    if isinstance(grouping.merge, LabelMatrices) and isinstance(grouping.unmerge, LabelMatrices):
        shares = grouping.merge.value(parent)
        sums = np.bincount(grouping.merge.labels(parent), shares, grouping.size)[grouping.merge.labels(parent)]
        alone = grouping.merge.only(parent, np.divide(shares, sums, out=np.zeros_like(shares), where=sums != 0))
        return replace(grouping, merge=alone, unmerge=grouping.unmerge.only(parent), labels=None)
    merge = np.asarray(grouping.merge[parent], dtype=np.float64)
    if grouping.labels is None:
        merge = merge * len(grouping.merge)
    else:
        sums = merge.sum(1, keepdims=True)
        merge = np.divide(merge, sums, out=np.zeros_like(merge), where=sums != 0)
    return replace(grouping, merge=(merge,), unmerge=(grouping.unmerge[parent],), labels=None)


def aligned_layer(trace: Trace, state: State, parts: Mapping[str, Grouping], layer: Layer) -> tuple[Tensor, Tensor]:
    """A parent's effective weights of a layer, its batch norm folded in, in the fused network's neurons: (n, d [+1 with
    the bias last]) float64; and (n,) float64, 1 for the outputs that it has a neuron for, else 0.

    parts: by space this parent's `parent_part`.
    """
    weight, bias = read_layer(state, layer)
    lone = [{layer.weight: weight}]
    moved = merge_states(lone, trace, parts)[layer.weight]
    outputs = merge_outputs(lone, trace, parts, layer)[0].to(weight.device)
    flat = moved.reshape(len(moved), -1)
    if bias is not None:
        flat = torch.cat([flat, (outputs @ bias)[:, None]], 1)
    return flat, (outputs != 0).any(1).double()
