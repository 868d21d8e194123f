"""Apply permutations and linear maps of a space to a state: new tensors, the state stays as it is."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fusion_engine.core.types import Member, Space, State

from ..structure.trace import Trace, lookup, with_aliases


def permute_state(
    state: State, space: Space, permutation: Sequence[int] | np.ndarray, trace: Trace
) -> dict[str, Tensor]:
    """New tensors of the space's members (under all their names) when new neuron j is old neuron permutation[j].

    The function of the model stays the same. {**state, **result} is the permuted state.
    """
    order = np.asarray(permutation)
    changed: dict[str, Tensor] = {}
    for member in space.members:
        tensor = changed.get(member.tensor, lookup(state, member.tensor, trace))
        flat = entries_first(tensor, member.dims).clone()
        target = torch.as_tensor(member.index.reshape(-1), device=tensor.device)
        source = torch.as_tensor(member.index[order].reshape(-1), device=tensor.device)
        flat[target] = flat[source]
        changed[member.tensor] = _unflat(flat, tensor, member.dims)
    return with_aliases(changed, state, trace)


def transform_state(state: State, space: Space, matrix: Tensor, trace: Trace) -> dict[str, Tensor]:
    """New tensors of the space's members after the change of basis `matrix` (n, n), invertible.

    'out' members become M T, 'in' members M^-T T. The function stays the same if M belongs to the space's freedom.
    """
    inverse = torch.linalg.inv(matrix).T
    changed: dict[str, Tensor] = {}
    for member in space.members:
        tensor = changed.get(member.tensor, lookup(state, member.tensor, trace))
        changed[member.tensor] = _transformed(tensor, member, matrix if member.role == "out" else inverse)
    return with_aliases(changed, state, trace)


def _transformed(tensor: Tensor, member: Member, matrix: Tensor) -> Tensor:
    flat = entries_first(tensor, member.dims).clone()
    index = torch.as_tensor(member.index, device=tensor.device)
    rows = flat[index.reshape(-1)].reshape(len(index), -1)
    flat[index.reshape(-1)] = (matrix.to(rows) @ rows).reshape(index.numel(), -1)
    return _unflat(flat, tensor, member.dims)


def entries_first(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    """(entries along dims, rest)."""
    front = tensor.movedim(dims, tuple(range(len(dims))))
    return front.reshape(math.prod(front.shape[: len(dims)]), -1)


def _unflat(flat: Tensor, like: Tensor, dims: tuple[int, ...]) -> Tensor:
    front = like.movedim(dims, tuple(range(len(dims))))
    return flat.reshape(front.shape).movedim(tuple(range(len(dims))), dims).contiguous()
