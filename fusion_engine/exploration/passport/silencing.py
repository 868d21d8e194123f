"""What a network loses without a neuron."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fusion_engine.core.errors import DataError
from fusion_engine.core.types import Site, State
from fusion_engine.data import Dataset
from fusion_engine.evaluation.measures import measure_rows, task_of
from fusion_engine.graph import Program, Trace
from fusion_engine.stats import fitting_batch

from .shapes import Measured, Silenced

To = Literal["mean", "zero"]


@dataclass(frozen=True)
class Network:
    """A network by its state, and its neurons (numbers in the space) that are to be silenced."""

    state: State
    neurons: tuple[int, ...]


def silenced(
    graph: Trace, network: Network, space: str, calibration: Dataset, test: Dataset, to: To = "mean"
) -> Silenced:
    """Accuracy and loss, all in all and by class, of the network as it is and with the neurons silenced.

    Their pre-activations are set at all positions to their mean over `calibration` ('mean'), which takes away what they
    tell apart and leaves the layers after them the average input they know; or to 0 ('zero'), which can be far from any
    value the neuron ever has. In a residual stream they are set at every sum and in what every layer adds to it. Raises
    DataError without labels.
    """
    if test.y is None:
        raise DataError(f"{test.name}: there are no labels, and what is lost without a neuron needs them")
    sites = _sites(graph.fitting(network.state), space)
    fill = _means(graph, network.state, sites, calibration) if to == "mean" else {}
    whole, without = [], []
    program = Program(graph, None, [graph.output])
    with torch.inference_mode():
        for x, _ in test.batches(min(512, fitting_batch(graph))):
            whole.append(program(network.state, x)[0].float())
            without.append(_run(graph, network, sites, fill, x).float())
    return {"before": _measured(torch.cat(whole), test), "after": _measured(torch.cat(without), test)}


def _sites(graph: Trace, space: str) -> list[Site]:
    """Where the space's neurons are made: where it is read, and in a stream what its layers write as well."""
    features = graph.spaces[space].features
    if len(features) < 2:
        return list(features)
    written = {layer.output for layer in graph.layers.values() if layer.space == space}
    found = {site.node: site for site in (*graph.spaces[space].sites, *features)}
    return [site for node, site in found.items() if node in written or node in {f.node for f in features}]


def _run(graph: Trace, network: Network, sites: Sequence[Site], fill: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Outputs with the neurons silenced: node by node, each computed from those that were changed before it."""
    order = [node.name for node in graph.capture.graph.nodes]
    fed, tensors = list(graph.inputs), [x]
    for site in sorted(sites, key=lambda s: order.index(s.node)):
        (value,) = Program(graph, fed, [site.node])(network.state, *tensors)
        fed, tensors = [*fed, site.node], [*tensors, _override(value, site, network.neurons, fill.get(site.node))]
    return Program(graph, fed, [graph.output])(network.state, *tensors)[0]


def _override(value: Tensor, site: Site, neurons: Sequence[int], fill: Tensor | None) -> Tensor:
    """A copy of the tensor in which the entries of some neurons are their means, or 0."""
    dims, rest = site.dims, value.movedim(site.dims, tuple(range(len(site.dims))))
    flat = rest.flatten(0, len(dims) - 1).clone()
    for neuron in neurons:
        index = torch.as_tensor(site.index[neuron])
        if fill is None:
            flat[index] = 0.0
        else:
            flat[index] = fill[index].to(flat).reshape(-1, *[1] * (flat.ndim - 1))
    return torch.movedim(flat.unflatten(0, rest.shape[: len(dims)]), tuple(range(len(dims))), dims)


def _means(graph: Trace, state: State, sites: Sequence[Site], data: Dataset) -> dict[str, Tensor]:
    """By node the mean of every entry along the space's dimensions, over samples and positions."""
    totals: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    program = Program(graph, None, [site.node for site in sites])
    with torch.inference_mode():
        for x, _ in data.batches(min(512, fitting_batch(graph))):
            for site, value in zip(sites, program(state, x), strict=True):
                front = value.movedim(site.dims, tuple(range(len(site.dims)))).flatten(0, len(site.dims) - 1).flatten(1)
                sums = front.sum(1, dtype=torch.float64)
                totals[site.node] = totals[site.node] + sums if site.node in totals else sums
                rows[site.node] = rows.get(site.node, 0) + front.shape[1]
    return {node: total / rows[node] for node, total in totals.items()}


def _measured(logits: Tensor, data: Dataset) -> Measured:
    task = task_of(logits, data)
    rows, wanted = task.rows(logits, data.x, data.y)
    assert wanted is not None  # there are labels
    found = measure_rows(rows, wanted, task)
    by_class: list[Tensor] = []
    if task.metric == "accuracy":
        losses = torch.nn.functional.cross_entropy(rows.double(), wanted, reduction="none")
        by_class = [losses[wanted == label] for label in range(task.classes)]
    return {
        "accuracy": found.accuracy,
        "loss": found.loss,
        "accuracy_by_class": list(found.per_class),
        "loss_by_class": [float(part.mean()) if len(part) else None for part in by_class],
    }
