"""Weights that a network computes from other tensors of its state: weight norm, spectral norm, pruning.

What has to be averaged is the weight, not the tensors it comes from: the norm of a mean direction, or a mean mask, is
none of the parents'. So each parent's tensors are replaced by others that compute the same weight and whose mean
computes the mean weight, and the merged tensors by such as the network itself would keep.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fusion_engine.core.types import State

from ..captured.capture import Capture
from ..captured.nodes import dependents, module_path, operator

# What the tensors are called, by torch.nn.utils (hooks) and torch.nn.utils.parametrizations.
_NAMES: tuple[tuple[Literal["weight norm", "spectral norm", "pruning"], tuple[str, ...]], ...] = (
    ("weight norm", ("_g", "_v")),
    ("weight norm", (".original0", ".original1")),
    ("spectral norm", ("_orig", "_u", "_v")),
    ("spectral norm", (".original", ".0._u", ".0._v")),
    ("pruning", ("_orig", "_mask")),
)

# Linear in all their operands together, in one alone, and what takes a weight.
_LINEAR = frozenset([
    "t", "transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "select", "cat", "clone",
    "contiguous", "detach", "alias", "to", "_to_copy", "neg", "sum", "mean", "flatten", "unflatten", "index",
    "index_select", "stack", "split", "split_with_sizes", "chunk", "unbind", "movedim", "flip", "repeat", "narrow",
    "add", "sub", "rsub", "numpy_T", "mT", "_unsafe_view", "lift_fresh_copy", "expand_as", "view_as", "reshape_as",
    "type_as", "diagonal", "diag_embed", "triu", "tril",
])  # fmt: skip
_PRODUCTS = frozenset(["mul", "div", "matmul", "mm", "bmm", "linear", "einsum", "masked_fill", "where"])
_CONTRACTIONS = frozenset(["linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "embedding", "bilinear"])


@dataclass(frozen=True)
class Computed:
    """A weight computed from the tensors `names`; `rows`: the dimension whose slices are the rows of its matrix."""

    kind: str
    names: tuple[str, ...]
    rows: int = 0

    @property
    def owner(self) -> str:
        """Name of the weight."""
        first = self.names[0]
        return next(first.removesuffix(end[0]) for _, end in _NAMES if first.endswith(end[0]))


def computed_weights(capture: Capture, state: State) -> list[Computed]:
    """Those of a network, if the state has all their tensors."""
    known, found = set(capture.tensors.values()), []
    nodes = {name: capture.node(node) for node, name in capture.tensors.items()}
    for kind, endings in _NAMES:
        for name in sorted(known):
            names = tuple(name.removesuffix(endings[0]) + end for end in endings)
            if not name.endswith(endings[0]) or not all(n in known and n in state for n in names):
                continue
            stack, seen, transposed = [nodes[name]], set(), False
            while stack and kind == "spectral norm":  # a transposed convolution has its outputs second
                node = stack.pop()
                transposed |= "transpose" in operator(node) and operator(node).startswith("conv")
                if node not in seen and not operator(node).startswith(("conv", "linear", "addmm")):
                    stack.extend(node.users)
                seen.add(node)
            found.append(Computed(kind, names, int(transposed)))
    return found


def averaged_as_they_are(capture: Capture, parameters: Collection[str], known: Sequence[Computed]) -> dict[str, str]:
    """Module -> a line, for weights that the network computes from its parameters otherwise than by the `known` ways,
    and not linearly: averages of what they are computed from do not compute the average of the weights."""
    moving, names = dependents(capture.graph, capture.inputs), {n for weight in known for n in weight.names}
    behind: dict[str, set[str]] = {}  # node that no sample reaches -> parameters it is computed from
    bent: dict[str, str] = {}  # such a node -> the operator by which it is not linear in them
    found: dict[str, str] = {}
    for node in capture.graph.nodes:
        sources = [other for other in node.all_input_nodes if other.name in behind]
        if node.name in capture.tensors:
            name = capture.tensors[node.name]
            behind[node.name] = {name} & set(parameters) - names
        elif node.name not in moving:
            behind[node.name] = {name for other in sources for name in behind[other.name]}
            several = sum(bool(behind[other.name]) for other in sources) > 1
            linear = operator(node) in _LINEAR or not operator(node) or (operator(node) in _PRODUCTS and not several)
            why = next((bent[other.name] for other in sources if other.name in bent), "" if linear else operator(node))
            if why and behind[node.name]:
                bent[node.name] = why
        elif operator(node).startswith("conv") or operator(node) in _CONTRACTIONS:
            for other in sources:
                if other.name in bent:
                    where, of = module_path(node) or "the model", ", ".join(sorted(behind[other.name]))
                    found.setdefault(where, (
                        f"a weight of {where} is computed from {of} ({bent[other.name]}): these are averaged as they "
                        "are, which does not give the average of that weight"
                    ))  # fmt: skip
    return found


def spelled_out(state: State, weights: Sequence[Computed]) -> State:
    """The state with the computed weights themselves in place of what they are computed from."""
    changed = dict(state)
    for weight in weights:
        first, *rest = (state[name].double() for name in weight.names)
        if weight.kind == "pruning":
            changed[weight.names[0]] = first * rest[0]
        elif weight.kind == "weight norm":
            changed[weight.names[1]] = rest[0] * first / _norms(rest[0], first).clamp_min(torch.finfo(first.dtype).tiny)
        else:
            changed[weight.names[0]] = first / _spectral(first, rest[0], rest[1], weight.rows)
    return changed


def taken_apart(merged: Mapping[str, Tensor], weights: Sequence[Computed]) -> dict[str, Tensor]:
    """Tensors from which the network computes the weights that `merged` has spelled out."""
    made: dict[str, Tensor] = {}
    for weight in weights:
        parts = [merged[name] for name in weight.names]
        first, *rest = (part.double() for part in parts)
        if weight.kind == "pruning":
            changed = [first, (rest[0] != 0).double()]
        elif weight.kind == "weight norm":
            norms = _norms(rest[0], first)
            # A neuron without weights has no direction: any will do for a length of 0.
            changed = [norms, torch.where(norms > 0, rest[0], 1.0)]
        else:
            size = _spectral(first, rest[0], rest[1], weight.rows)
            if abs(float(size)) < torch.finfo(torch.float32).tiny:
                changed = [first, *rest]
            else:  # the vectors are of the length with which the norm comes out as 1
                changed = [first, rest[0] / size, rest[1]]
        made |= {n: c.to(p) for n, c, p in zip(weight.names, changed, parts, strict=True)}
    return made


def grouped_names(names: Collection[str] | None, weights: Sequence[Computed]) -> Collection[str] | None:
    """The names with those of all tensors from which the same weights are computed; None stays None: all."""
    if names is None:
        return None
    return {*names, *(n for weight in weights if set(weight.names) & set(names) for n in weight.names)}


def _norms(direction: Tensor, like: Tensor) -> Tensor:
    """Of the slices that have one entry each in `like`."""
    if like.dim() < direction.dim():
        norm: Tensor = torch.linalg.vector_norm(direction)
        return norm.reshape(like.shape)
    over = [d for d in range(direction.dim()) if like.shape[d] == 1 and direction.shape[d] > 1]
    return torch.linalg.vector_norm(direction, dim=over, keepdim=True) if over else direction.abs()


def _spectral(weight: Tensor, left: Tensor, right: Tensor, rows: int) -> Tensor:
    matrix = weight.movedim(rows, 0).flatten(1)
    size: Tensor = left @ (matrix @ right)
    return size
