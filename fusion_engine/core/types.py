"""Types shared by all layers. Arrays here are NumPy; tensors appear in annotations only (no torch import)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Role = Literal["out", "in"]
Freedom = Literal["gl", "orth", "perm"]

TASKS = ("classification", "binary", "positions", "regression", "language")
"""What a model's outputs can be for; see `fusion_engine.tasks`."""


def merit(metric: str, value: float) -> float:
    """A figure that networks are compared by, so that more is better: less perplexity is."""
    return -value if metric == "perplexity" else value


Array: TypeAlias = "NDArray[np.float64]"
Indices: TypeAlias = "NDArray[np.int64]"
"""Positions, or numbers of groups."""

State = Mapping[str, "torch.Tensor"]
"""A state dict: tensor name -> tensor. Never modified in place by the engine."""


@dataclass(frozen=True)
class Member:
    """One tensor dimension (or group of dimensions) indexed by a space.

    index[i, j] is the flat position, inside `dims` of `tensor`, of the j-th entry of neuron i
    (more than one for flattened maps, attention heads, grouped convolutions). `role` says how a
    transform acts: 'out' as T <- M T, 'in' as T <- T U (the inverse, transposed onto the dimension).
    """

    tensor: str
    dims: tuple[int, ...]
    index: np.ndarray
    role: Role


@dataclass(frozen=True)
class Site:
    """A graph node where the activations of a space can be read; index as in `Member`."""

    node: str
    module: str
    dims: tuple[int, ...]
    index: np.ndarray


@dataclass(frozen=True)
class Space:
    """A set of coupled, interchangeable neurons (channels).

    `freedom` says which invertible matrices M keep the function exactly: 'perm' (permutations only),
    'orth' (orthogonal), 'gl' (any). `block` is true where one neuron carries several scalars that must
    move together in order (attention heads). `features` are the nodes at which the space's pre-activation
    features are read: the outputs of its producing layers, after a norm folded into them; the sums of a residual
    stream; where no layer makes the space, the first node that shows it.
    """

    name: str
    size: int
    freedom: Freedom
    members: tuple[Member, ...]
    sites: tuple[Site, ...]
    block: bool = False
    features: tuple[Site, ...] = ()


@dataclass(frozen=True)
class NormNames:
    """Tensor names of a BatchNorm that directly follows a layer and can be folded into it (eval mode)."""

    weight: str | None
    bias: str | None
    running_mean: str
    running_var: str
    eps: float
    node: str


@dataclass(frozen=True)
class Layer:
    """A linear map of the graph: `output = conv_or_linear(input)`, then `norm` if one can be folded.

    `input` and `output` are node names; `output` is the node after bias and after a folded norm.
    `space` names the space of its output channels (None: fixed outputs, e.g. classes).
    `options` holds stride, padding, dilation, groups of a convolution.
    """

    name: str
    kind: Literal["linear", "conv"]
    weight: str
    bias: str | None
    norm: NormNames | None
    input: str
    output: str
    space: str | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_bias(self) -> bool:
        """Whether its outputs can be shifted, by a bias or by the norm."""
        return self.bias is not None or self.norm is not None


@dataclass(frozen=True)
class Level:
    """A stretch of the graph between two cut points at which exactly one tensor crosses.

    `input` is None for the first level (the model's own inputs); `output` of the last level is the model's
    output node. `tensors` are the state-dict names the level uses.
    """

    index: int
    name: str
    input: str | None
    output: str
    tensors: tuple[str, ...]
    layers: tuple[str, ...] = ()
    output_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Grouping:
    """How the neurons of k parents become the neurons of the fused model, in one space.

    merge[p]:   (n, n_p) float64, fused features f = sum_p merge[p] f_p.
    unmerge[p]: (n_p, n) float64, parent features f_p ~ unmerge[p] f.
    labels[p]:  (n_p,) int64 group of each parent neuron, -1 for none; None for soft groupings.
    Large matrices of groups are made when they are read (`core.matrices`).
    Invariant for identical parents: sum_p merge[p] unmerge[p] = I.
    """

    space: str
    method: str
    merge: Sequence[np.ndarray]
    unmerge: Sequence[np.ndarray]
    labels: tuple[np.ndarray, ...] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of fused neurons n."""
        return self._shape(0)[0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons n_p of every parent."""
        return tuple(self._shape(p)[1] for p in range(len(self.merge)))

    def _shape(self, p: int) -> tuple[int, int]:
        """Of a merge matrix, which is not made for it."""
        known = getattr(self.merge, "shape", None)
        rows, columns = self.merge[p].shape if known is None else known(p)
        return int(rows), int(columns)
