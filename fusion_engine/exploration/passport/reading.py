"""What the neurons of a space answer to every sample: one number each, read in batches."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.progress import Progress
from fusion_engine.core.types import Site, State
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, Trace
from fusion_engine.stats import fitting_batch

_BATCH = 512


@dataclass(frozen=True)
class Reading:
    """Answers of a network's neurons in one space.

    values: (samples, n) float32, the largest value over positions. at: (samples, n) int32 where it is, flat in `grid`.
    grid: positions of a neuron's map: (height, width), (tokens,), or () where there is one.
    """

    values: np.ndarray
    at: np.ndarray
    grid: tuple[int, ...]


def read_at(graph: Trace, state: State, space: str) -> Site:
    """The place where the space is read: its pre-activation; of a residual stream the last sum, where all that is
    written into it has come together. Raises UnsupportedModelError for a space that is seen nowhere alone."""
    features = graph.fitting(state).spaces[space].features
    if not features:
        raise UnsupportedModelError(f"space {space}: there is no place where its neurons' activations can be read")
    return features[-1]


def read_space(graph: Trace, state: State, space: str, data: Dataset, progress: Progress | None = None) -> Reading:
    """One pass over the data; activations live no longer than their batch."""
    site = read_at(graph, state, space)
    program = Program(graph, None, [site.node])
    values, places = [], []
    grid: tuple[int, ...] = ()
    with torch.inference_mode():
        for x, _ in data.batches(min(_BATCH, fitting_batch(graph))):
            maps, grid = neuron_maps(graph, state, program(state, x)[0], site)
            best, at = maps.max(2)
            values.append(best.float().numpy())
            places.append(at.to(torch.int32).numpy())
            if progress is not None:
                progress.report(sum(map(len, values)) / len(data), f"reading space {space}")
    return Reading(np.concatenate(values), np.concatenate(places), grid)


def neuron_maps(graph: Trace, state: State, tensor: Tensor, site: Site) -> tuple[Tensor, tuple[int, ...]]:
    """(samples, n, positions) values of a space's neurons in the tensor at `site`, and the shape of the positions.

    A neuron that carries several numbers (an attention head) is as strong as their Euclidean norm.
    """
    place = graph.fitting(state).capture.place(site.node)
    dims = [d % tensor.ndim for d in site.dims]
    if place is None or place.dim in dims:
        raise UnsupportedModelError(f"at {site.node} ({site.module}) samples do not stay apart, so none can be ranked")
    folded = place.entries * place.outer > 1
    tensor = place.first(tensor)  # a dimension more where each has several entries
    dims = [d + folded if d > place.dim else d + 1 for d in dims]
    front = tensor.movedim(dims, tuple(range(1, 1 + len(dims))))
    grid = tuple(front.shape[1 + len(dims) :])
    flat = front.reshape(len(front), math.prod(front.shape[1 : 1 + len(dims)]), math.prod(grid))
    index = torch.as_tensor(site.index, device=tensor.device)
    picked = flat[:, index.reshape(-1)].unflatten(1, tuple(index.shape))
    return (picked[:, :, 0] if picked.shape[2] == 1 else picked.norm(dim=2)), grid
