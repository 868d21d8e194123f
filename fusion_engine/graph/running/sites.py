"""Read the activations of a space at a node of the graph."""

from __future__ import annotations

import math

import torch

from fusion_engine.core.types import Site

__all__ = ["read_site"]


def read_site(tensor: torch.Tensor, site: Site) -> torch.Tensor:
    """Features of a space's neurons in `tensor`, the value at `site.node`.

    Returns (n, k * rows): one row a neuron; its k entries follow each other, each with all samples and positions
    (sample-major) of the remaining dimensions.
    """
    front = tensor.movedim(site.dims, tuple(range(len(site.dims))))
    flat = front.reshape(math.prod(front.shape[: len(site.dims)]), -1)
    index = torch.as_tensor(site.index, device=tensor.device)
    return flat[index.reshape(-1)].reshape(index.shape[0], -1)
