"""Read what a tensor holds of a space: its activations at a node of the graph, or its weights."""

import torch

from fusion_engine.core.types import Member, Site

from ..states.transforms import entries_first


def read_site(tensor: torch.Tensor, site: Site | Member) -> torch.Tensor:
    """Features of a space's neurons in `tensor`, the value at `site.node`, or their weights in a member's tensor.

    Returns (n, k * rows): one row a neuron; its k entries follow each other, each with all samples and positions
    (sample-major) of the remaining dimensions.
    """
    flat = entries_first(tensor, site.dims)
    index = torch.as_tensor(site.index, device=tensor.device)
    return flat[index.reshape(-1)].reshape(index.shape[0], -1)
