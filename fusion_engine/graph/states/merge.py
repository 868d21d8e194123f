"""Merge parents into one state, given groupings of the spaces: the arithmetic of weighted averaging.

For every tensor T = sum_p c (M_p ...) T_p (U_p ...): merge matrices act on the dimensions that write a space, unmerge
matrices on those that read it. Rows of M_p hold the parents' weights, so a part of a tensor that writes no grouped
space gets c = 1/k, one that writes one space c = 1, and one that writes m spaces at once (heads and the neurons in
them) c = k^(m-1).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fusion_engine.core.errors import ParentError, UnsupportedModelError
from fusion_engine.core.matrices import LabelMatrices
from fusion_engine.core.types import Grouping, Layer, Member, Space, State

from ..captured.nodes import shape as node_shape
from ..structure.computed import computed_weights, grouped_names, spelled_out, taken_apart
from ..structure.trace import Trace, lookup
from .layout import read_layout
from .scales import scale_tensors

Owned = list[tuple[Space, Member]]


def average_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The plain average: the mean of every floating-point tensor; integers (counters) are the first state's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point() else tensor.clone()
        for name, tensor in states[0].items()
    }


def merge_states(
    states: Sequence[State],
    trace: Trace,
    groupings: Mapping[str, Grouping],
    output_weights: Sequence[Tensor] | None = None,
    *,
    names: Collection[str] | None = None,
    information: bool = False,
) -> dict[str, Tensor]:
    """The fused state of k parents: names, order and types of the first parent's.

    groupings: space name -> Grouping; a space that is missing is averaged neuron by neuron. output_weights: per
    parent (classes,) weights of the last layer's outputs, summing to one over the parents; None for 1/k.
    names: only these tensors are made (None: all). Integer buffers come from the first parent. Parents may differ
    in width where every affected space is grouped. Computed in float64. Weights that the network computes from other
    tensors (weight norm, pruning) are averaged themselves, unless the states hold `information` about the tensors.

    Raises UnsupportedModelError if a space cannot change its width, or the model has no linear output layer for
    `output_weights`; ParentError if the parents do not fit together.
    """
    computed = [] if information else computed_weights(trace.capture, states[0])
    original = states[0]
    states = [spelled_out(state, computed) if computed else state for state in states]
    wanted = grouped_names(names, computed)
    merger = _Merger(states, trace, groupings)
    scales = _output_scales(trace, output_weights)
    done: dict[str, Tensor] = {}
    result: dict[str, Tensor] = {}
    for name, tensor in states[0].items():
        if wanted is not None and name not in wanted:
            continue
        canonical = trace.aliases.get(name, (name,))[0]
        if canonical not in done:
            if tensor.is_floating_point():
                done[canonical] = merger.merge(canonical, scales.get(canonical)).to(tensor.dtype)
            else:
                done[canonical] = tensor.detach().clone()
        result[name] = done[canonical]
    if computed:
        made = taken_apart(result, [w for w in computed if w.names[0] in result])
        result |= {name: tensor.to(original[name].dtype) for name, tensor in made.items()}
    return result if names is None else {name: tensor for name, tensor in result.items() if name in names}


def merge_outputs(
    states: Sequence[State], trace: Trace, groupings: Mapping[str, Grouping], layer: Layer
) -> list[Tensor]:
    """Per parent p the (n, n_p) float64 matrix that merges the layer's output channels: fused = sum_p m_p f_p.

    Channels that belong to no grouped space are averaged. Heads, the neurons inside them and channels that move
    against their space (keys) are all accounted for: what happens to the layer's weight happens to its outputs.
    """
    merger = _Merger(states, trace, groupings)
    dim = 1 if layer.options.get("transposed") else 0
    matrices = []
    for p, state in enumerate(states):
        shape = tuple(lookup(state, layer.weight, trace).shape)
        matrix = torch.eye(shape[dim], dtype=torch.float64) / len(states)
        for step in merger.tensor_steps(layer.weight, p, shape):
            if step.dims == (dim,):
                matrix = replace(step, dims=(0,)).apply(matrix)
        matrices.append(matrix)
    return matrices


def merge_features(
    states: Sequence[State], trace: Trace, groupings: Mapping[str, Grouping], layer: Layer, features: Sequence[Tensor]
) -> Tensor:
    """(rows, n) of the parents' `features` (rows, n_p) at the layer's output channels: sum_p f_p m_p^T, with the
    matrices of `merge_outputs`, none of which is made. Type and device of the features."""
    merger = _Merger(states, trace, groupings)
    dim = 1 if layer.options.get("transposed") else 0
    total: Tensor | None = None
    for p, state in enumerate(states):
        part = features[p].T / len(states)
        for step in merger.tensor_steps(layer.weight, p, tuple(lookup(state, layer.weight, trace).shape)):
            if step.dims == (dim,):
                part = replace(step, dims=(0,)).apply(part)
        total = part if total is None else total + part
    assert total is not None
    return total.T


def merge_activations(trace: Trace, groupings: Mapping[str, Grouping], node: str, tensors: Sequence[Tensor]) -> Tensor:
    """The merged tensor of the parents' `tensors` at a graph node: the fused features of the spaces seen there.

    Entries that belong to no grouped space are averaged. Type and device of the tensors.
    """
    owned = _seen(trace, groupings, node)
    merger = _Merger([{}] * len(tensors), trace, groupings)
    traced = node_shape(trace.capture.node(node)) or ()
    total: Tensor | None = None
    for p, tensor in enumerate(tensors):
        part = tensor / len(tensors)
        for step in merger.steps(owned, p, tuple(tensor.shape), traced):
            part = step.apply(part)
        total = part if total is None else total + part
    assert total is not None
    return total


def unmerge_activations(
    trace: Trace, groupings: Mapping[str, Grouping], node: str, tensor: Tensor, parents: int
) -> list[Tensor]:
    """What each of the `parents` would hold at a graph node if its features were those of the fused `tensor`: U_p f.

    The counterpart of `merge_activations`: merging the result gives `tensor` back, as sum_p M_p U_p = I. Entries that
    belong to no grouped space are copied.
    """
    traced = node_shape(trace.capture.node(node)) or ()
    # Merging goes from blocks to what is inside them; the way back starts inside.
    owned = _seen(trace, groupings, node)[::-1]
    copies = []
    for p in range(parents):
        back = {n: replace(g, merge=(g.unmerge[p],), unmerge=(g.merge[p],), labels=None) for n, g in groupings.items()}
        part = tensor
        for step in _Merger([{}], trace, back).steps(owned, 0, tuple(tensor.shape), traced):
            part = step.apply(part)
        copies.append(part)
    return copies


def _seen(trace: Trace, groupings: Mapping[str, Grouping], node: str) -> Owned:
    """The grouped spaces that can be read at a node, and where, blocks before what is in them."""
    return [
        (space, Member(node, site.dims, site.index, "out"))
        for space in trace.spaces.values()
        if space.name in groupings
        for site in space.sites
        if site.node == node
    ]


def _output_scales(trace: Trace, weights: Sequence[Tensor] | None) -> dict[str, list[Tensor]]:
    """Tensor -> per parent a factor that broadcasts over it, for the tensors of the output layer."""
    if weights is None:
        return {}
    layer = next((x for x in reversed(trace.layers.values()) if x.space is None), None)
    dim = 1 if layer is not None and layer.options.get("transposed") else 0
    classes = len(weights[0])
    if layer is None or trace.shapes[layer.weight][dim] != classes:
        raise UnsupportedModelError(
            f"output weights for {classes} classes need a linear layer or convolution with as many outputs at the "
            "end of the model; leave them out to weight the parents equally"
        )
    names = [layer.bias]
    if layer.norm is not None:
        names += [layer.norm.weight, layer.norm.bias, layer.norm.running_mean, layer.norm.running_var]
    scales = {name: [w.detach().double() for w in weights] for name in names if name is not None}
    shape = [classes if d == dim else 1 for d in range(len(trace.shapes[layer.weight]))]
    scales[layer.weight] = [w.detach().double().reshape(shape) for w in weights]
    return scales


_NONE = np.empty(0, np.int64)
_BLOCK = 256  # columns that are moved at once


@dataclass(frozen=True)
class _Entries:
    """A matrix of `total` rows by what is not zero in it, row after row."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    total: int


@dataclass(frozen=True)
class _Step:
    """One movement along `dims`: matrices from source to target positions; `kept` positions stay as they are."""

    dims: tuple[int, ...]
    moves: list[tuple[np.ndarray | _Entries, np.ndarray, np.ndarray]]
    kept: tuple[np.ndarray, np.ndarray]
    total: int

    def apply(self, tensor: Tensor) -> Tensor:
        front = tensor.movedim(self.dims, tuple(range(len(self.dims))))
        rest = front.shape[len(self.dims) :]
        flat = front.reshape(-1, math.prod(rest))
        device = tensor.device
        if len(self.moves) == 1 and _in_order(self.moves[0][1], len(flat)) and _in_order(self.moves[0][2], self.total):
            matrix, source, _ = self.moves[0]  # nothing to gather
            result = _product(matrix, flat.reshape(len(source), -1)).reshape(self.total, -1)
        else:
            result = flat.new_zeros(self.total, flat.shape[1])
            result[torch.as_tensor(self.kept[1], device=device)] = flat[torch.as_tensor(self.kept[0], device=device)]
            for matrix, source, target in self.moves:
                rows = flat[torch.as_tensor(source.reshape(-1), device=device)].reshape(len(source), -1)
                moved = _product(matrix, rows).reshape(target.size, -1)
                result[torch.as_tensor(target.reshape(-1), device=device)] = moved
        sizes = (self.total,) if len(self.dims) == 1 else front.shape[: len(self.dims)]
        return result.reshape(*sizes, *rest).movedim(tuple(range(len(self.dims))), self.dims)


def _product(matrix: np.ndarray | _Entries, rows: Tensor) -> Tensor:
    """matrix @ rows. Hard groupings have one entry a parent neuron: on the CPU they cost a pass over the rows."""
    if isinstance(matrix, np.ndarray):
        target, source = np.nonzero(matrix)
        if rows.device.type != "cpu" or len(target) > max(matrix.shape):
            return torch.as_tensor(matrix).to(rows) @ rows
        matrix = _Entries(target, source, matrix[target, source], len(matrix))
    weights = torch.as_tensor(matrix.values).to(rows)[:, None]
    columns, places = (torch.as_tensor(x, device=rows.device) for x in (matrix.columns, matrix.rows))
    out = rows.new_zeros(matrix.total, rows.shape[1])
    for first in range(0, rows.shape[1], _BLOCK):  # what is gathered stays in the cache
        part = slice(first, first + _BLOCK)
        out[:, part].index_add_(0, places, rows[:, part][columns].mul_(weights))
    return out


def _shares(grouping: Grouping) -> Grouping:
    """The grouping with |M| in place of M, rows summing to one over the parents."""
    sizes = [np.abs(m) for m in grouping.merge]
    total = sum((m.sum(1, keepdims=True) for m in sizes), np.zeros(()))
    return replace(grouping, merge=tuple(m / np.where(total > 0, total, 1.0) for m in sizes))


def _in_order(index: np.ndarray, total: int) -> bool:
    return index.size == total and bool((index.reshape(-1) == np.arange(total)).all())


class _Merger:
    """Merges tensor after tensor."""

    def __init__(self, states: Sequence[State], trace: Trace, groupings: Mapping[str, Grouping]) -> None:
        self.states, self.trace, self.groupings = states, trace, groupings
        self.members: dict[str, Owned] = {}
        for space in trace.spaces.values():
            for member in space.members if space.name in groupings else ():
                self.members.setdefault(member.tensor, []).append((space, member))
        for name, grouping in groupings.items():
            if len(grouping.merge) != len(states):
                raise ParentError(f"the grouping of {name!r} is for {len(grouping.merge)} parents, not {len(states)}")
        made = {n: g for n, g in groupings.items() if not isinstance(g.merge, LabelMatrices)}  # whose shares are >= 0
        mixed = {n: g for n, g in made.items() if any((m < 0).any() for m in g.merge)}
        self.scales = scale_tensors(trace.capture) if mixed else frozenset()
        self.shares = {name: _shares(grouping) for name, grouping in mixed.items()}

    def merge(self, name: str, scale: list[Tensor] | None) -> Tensor:
        """The merged tensor, float64. `scale` replaces 1/k."""
        total: Tensor | None = None
        for p, state in enumerate(self.states):
            tensor = lookup(state, name, self.trace)
            part = tensor.double() * (1 / len(self.states) if scale is None else scale[p].to(tensor.device))
            for step in self.tensor_steps(name, p, tuple(tensor.shape)):
                part = step.apply(part)
            if total is not None and part.shape != total.shape:
                raise ParentError(
                    f"tensor {name!r} has different shapes in the parents ({tuple(total.shape)} and "
                    f"{tuple(part.shape)} after merging); group every space whose width differs"
                )
            total = part if total is None else total + part
        assert total is not None
        return total

    def tensor_steps(self, name: str, parent: int, shape: tuple[int, ...]) -> list[_Step]:
        """What merges tensor `name` of a parent, in which it has this shape."""
        return self.steps(self.members.get(name, []), parent, shape, self.trace.shapes.get(name, shape))

    def steps(self, owned: Owned, parent: int, shape: tuple[int, ...], traced: tuple[int, ...]) -> list[_Step]:
        """One step a member. shape: in this parent; traced: in the traced model, to which the indices belong."""
        sizes = {s.name: (self._size(s, parent), self.groupings[s.name].size, s.size) for s, _ in owned}
        if all(len(set(three)) == 1 for three in sizes.values()):
            return [self._same_width(space, member, parent, shape) for space, member in owned]
        return [
            self._other_width([x for x in owned if x[1].dims == dims], dims, parent, shape, traced)
            for dims in dict.fromkeys(member.dims for _, member in owned)
        ]

    def _size(self, space: Space, parent: int) -> int:
        return self.groupings[space.name].widths[parent]

    def _matrix(self, space: Space, member: Member, parent: int) -> np.ndarray | _Entries:
        """(n, n_p). The parents' weights in the rows of a merge matrix replace the factor 1/k.

        Where fused neurons are differences of the parents', scales (variances, norm weights) are averaged by the size
        of the parts instead: they have to stay positive, and what is equal in all neurons has to stay as it is.
        """
        grouping = (self.shares if member.tensor in self.scales else {}).get(space.name, self.groupings[space.name])
        if isinstance(grouping.merge, LabelMatrices):
            values = grouping.merge.value(parent) * len(self.states)
            if member.role == "in":
                assert isinstance(grouping.unmerge, LabelMatrices)
                values = grouping.unmerge.value(parent)
            return _Entries(*grouping.merge.only(parent, values).entries(0), grouping.size)
        if member.role == "out":
            return np.asarray(grouping.merge[parent], dtype=np.float64) * len(self.states)
        return np.ascontiguousarray(np.asarray(grouping.unmerge[parent], dtype=np.float64).T)

    def _same_width(self, space: Space, member: Member, parent: int, shape: tuple[int, ...]) -> _Step:
        total = math.prod(shape[d] for d in member.dims)
        # Setting apart costs more than small merges themselves, and most members have every position.
        kept = np.setdiff1d(np.arange(total), member.index) if member.index.size < total else _NONE
        move = (self._matrix(space, member, parent), member.index, member.index)
        return _Step(member.dims, [move], (kept, kept), total)

    def _other_width(
        self, owned: Owned, dims: tuple[int, ...], parent: int, shape: tuple[int, ...], traced: tuple[int, ...]
    ) -> _Step:
        spaces = [space for space, _ in owned]
        layout = read_layout([m for _, m in owned], [s.name for s in spaces], math.prod(traced[d] for d in dims))
        source = layout.place([self._size(s, parent) for s in spaces])
        target = layout.place([self.groupings[s.name].size for s in spaces])
        if source.total != shape[dims[0]]:
            raise ParentError(
                f"tensor {owned[0][1].tensor!r} of parent {parent + 1} has {shape[dims[0]]} entries where its spaces "
                f"need {source.total}; group every space whose width differs"
            )
        moves = [
            (self._matrix(space, member, parent), source.index[i], target.index[i])
            for i, (space, member) in enumerate(owned)
        ]
        return _Step(dims, moves, (source.kept, target.kept), target.total)
