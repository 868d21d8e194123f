"""Where in its top inputs a neuron looks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.types import State
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, Trace

from .reading import neuron_maps, read_at


@dataclass(frozen=True)
class Looked:
    """maps: one a sample. how: 'activation', (samples, rows, columns), the neuron's own map; or 'gradient', the
    gradient of its largest value times the input, in the shape of a sample without its channels."""

    maps: np.ndarray
    how: str


def where_it_looks(graph: Trace, state: State, space: str, neuron: int, data: Dataset, chosen: Sequence[int]) -> Looked:
    """Maps of one neuron for the samples `chosen`.

    A neuron of a convolution has a map itself; for others it is gradient times input (Shrikumar et al. 2016,
    arXiv:1605.01713), summed over channels. Raises UnsupportedModelError for tokens, which have no derivative.
    """
    site = read_at(graph, state, space)
    program = Program(graph, None, [site.node])
    x = data.normalised(list(chosen))
    with torch.no_grad():
        maps, grid = neuron_maps(graph, state, program(state, x)[0], site)
    if len(grid) == 2 and x.ndim == 4:
        return Looked(maps[:, neuron].reshape(len(x), *grid).float().numpy(), "activation")
    if not x.is_floating_point():
        raise UnsupportedModelError("tokens have no gradient, so where the neuron looks cannot be shown")
    x = x.detach().requires_grad_()
    maps, _ = neuron_maps(graph, state, program(state, x)[0], site)
    (slope,) = torch.autograd.grad(maps[:, neuron].amax(1).sum(), x)
    product = (slope * x).detach()
    return Looked((product.sum(1) if x.ndim == 4 else product).float().numpy(), "gradient")
