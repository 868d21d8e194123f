"""Joint moments of all parents' features, for all spaces, in one pass over the calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.types import Progress, ProgressCallback, Site, State, no_progress
from ..graph import Program, Trace, read_site
from .batches import fitting_batch
from .moments import GramAccumulator, Precision

if TYPE_CHECKING:
    from ..data import Dataset

__all__ = ["Moments", "feature_sites", "parent_moments", "post_activation_sites"]


class Moments(NamedTuple):
    """Joint moments of [F_1 ... F_k] in one space: gram (N, N) (sum of f f^T), mean (N,), number of rows."""

    gram: NDArray[np.float64]
    mean: NDArray[np.float64]
    count: int  # type: ignore[assignment]  # hides tuple.count


def feature_sites(trace: Trace, spaces: Iterable[str] | None = None) -> dict[str, Site]:
    """Where each space's pre-activation features are read; spaces that have no such place are left out."""
    names = trace.spaces if spaces is None else spaces
    features = {name: trace.spaces[name].feature for name in names}
    return {name: site for name, site in features.items() if site is not None}


def post_activation_sites(trace: Trace, spaces: Iterable[str] | None = None) -> dict[str, Site]:
    """Where each space's post-activation features are read: the input of the first layer that reads the space.

    That is after pooling, where there is some. Spaces no layer reads are left out.
    """
    order = {node.name: i for i, node in enumerate(trace.capture.graph.nodes)}
    read = {layer.input for layer in trace.layers.values()}
    found = {}
    for name in trace.spaces if spaces is None else spaces:
        candidates = [site for site in trace.spaces[name].sites if site.node in read]
        if candidates:
            found[name] = min(candidates, key=lambda site: order[site.node])
    return found


def parent_moments(
    trace: Trace,
    states: Sequence[State],
    data: Dataset,
    *,
    spaces: Iterable[str] | None = None,
    sites: Mapping[str, Site] | None = None,
    batch_size: int | None = None,
    precision: Precision = "double",
    on_progress: ProgressCallback = no_progress,
    device: str = "cpu",
) -> dict[str, Moments]:
    """Moments by space name. Every parent runs once over the data, and no activations outlive their batch.

    A row is a sample and position (and entry, in a space whose neurons carry several scalars). `sites` says
    where to read each space (default: `feature_sites` of `spaces`, the pre-activations). `batch_size` None
    takes one that fits in memory; it does not change the result. Labels are not used.
    """
    sites = feature_sites(trace, spaces) if sites is None else sites
    program = Program(trace, None, [site.node for site in sites.values()])
    moved = [{name: state[name].to(device) for name in program.tensors} for state in states]
    widths = {name: len(states) * len(site.index) for name, site in sites.items()}
    accumulators = {name: GramAccumulator(width, precision=precision) for name, width in widths.items()}
    done = 0
    with torch.inference_mode():
        for x, _ in data.batches(batch_size or fitting_batch(trace, copies=len(states))):
            on_progress(Progress("moments", done / len(data), "reading the parents' features"))
            values = [program(state, x.to(device)) for state in moved]
            for i, (name, site) in enumerate(sites.items()):
                features = [read_site(of_parent[i], site) for of_parent in values]
                accumulators[name].update(torch.cat(features).T)
            done += len(x)
    return {
        name: Moments(a.gram.cpu().numpy(), a.mean.cpu().numpy(), a.count) for name, a in accumulators.items()
    }
