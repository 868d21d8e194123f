"""Group attention heads and channel groups: whole heads first, then the neurons inside the heads that met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..context import FusionContext
from ..core import registry
from ..core.recipe import Step
from ..core.types import Grouping
from ..graph import Nest
from ..grouping import group
from ..grouping.hard import hard_grouping
from ..stats import Moments, SpaceStats, entry_key

__all__ = ["group_nest"]

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """Neurons of one kind inside the heads: names[h] their space in head h; entries: one (heads, neurons) array of
    positions among a block's entries for every tensor entry a neuron has, with the feature site it is read at."""

    names: tuple[str, ...]
    entries: tuple[tuple[int, Labels], ...]


def group_nest(context: FusionContext, nest: Nest, moments: Mapping[str, Moments], step: Step) -> dict[str, Grouping]:
    """Groupings of a block space and of all spaces inside its neurons.

    A fused head needs exactly one head of every parent, and inside it exactly one neuron of every head, or queries
    would meet the keys of other neurons. So a method without that property gives way to `balanced` here, which the
    groupings' info says ('fallback').

    Heads are compared by the smallest distance that a matching of their inner neurons reaches (all kinds together),
    and matched to the first parent's by linear sum assignment.
    """
    block = context.trace.spaces[nest.block]
    k, heads = context.parents, block.size
    fallback = "" if registry.get("grouping", step.method).pairs else f"{step.method} would split heads"
    used = Step(method="balanced", parameters={}) if fallback else step
    grams = [moments[entry_key(nest.block, i)].gram for i in range(len(block.features))]
    kinds = [_kind(context, nest, kind) for kind in nest.kinds]
    reader = _Reader(grams, [site.index.size for site in block.features])
    met = [np.arange(heads)]
    for p in range(1, k):
        costs = np.zeros((heads, heads))
        for kind in kinds:
            costs += _kind_costs(reader, kind, p, heads)
        for i, at in enumerate(nest.loose):
            if len(at):
                width = block.features[i].index.shape[1]
                positions = (np.arange(heads)[:, None] * width + at[None, :]).ravel()
                costs += _summed(reader.distances(i, positions, 0, positions, p), heads)
        met.append(np.asarray(linear_sum_assignment(costs)[1]))
    labels = [np.argsort(m) for m in met]  # of parent p's head g: the fused head it goes to
    info = {"fallback": fallback} if fallback else {}
    found = {
        nest.block: hard_grouping(
            nest.block, used.method, np.concatenate(labels), [heads] * k, heads, np.ones(heads * k), info
        )
    }
    for kind in kinds:
        for head, name in enumerate(kind.names):
            sources = [int(m[head]) for m in met]
            stats = _inner_stats(context, reader, kind, name, sources)
            made = group(stats, used.method, used.parameters)
            inside = {"within": nest.block, "neuron": head, "heads": sources, **info}
            found[name] = Grouping(name, made.method, made.merge, made.unmerge, made.labels, {**made.info, **inside})
    return found


class _Reader:
    """Second moments between entries of a block space, by feature site, parent and position in the block's index."""

    def __init__(self, grams: Sequence[Array], sizes: Sequence[int]) -> None:
        self.grams, self.sizes = grams, sizes

    def block(self, site: int, rows: Labels, p: int, columns: Labels, q: int) -> Array:
        """(rows, columns) products of parent p's and parent q's entries."""
        size = self.sizes[site]
        out: Array = self.grams[site][np.ix_(rows + p * size, columns + q * size)]
        return out

    def distances(self, site: int, rows: Labels, p: int, columns: Labels, q: int) -> Array:
        """(rows, columns) squared distances between features."""
        own = np.diag(self.grams[site])
        first, second = own[rows + p * self.sizes[site]], own[columns + q * self.sizes[site]]
        return np.maximum(first[:, None] + second[None, :] - 2 * self.block(site, rows, p, columns, q), 0.0)


def _kind(context: FusionContext, nest: Nest, names: tuple[str, ...]) -> _Kind:
    sites = context.trace.spaces[nest.block].features
    entries = []
    for number, site in enumerate(sites):
        flat = site.index.ravel()
        order = np.argsort(flat)
        found = []
        for name in names:
            inner = next((s for s in context.trace.spaces[name].sites if s.node == site.node), None)
            if inner is not None and np.isin(inner.index, flat).all():
                found.append(order[np.searchsorted(flat, inner.index, sorter=order)])
        if len(found) == len(names):
            places = np.stack(found)  # (heads, neurons, entries)
            entries += [(number, places[:, :, e]) for e in range(places.shape[2])]
    return _Kind(names, tuple(entries))


def _kind_costs(reader: _Reader, kind: _Kind, p: int, heads: int) -> Array:
    """(heads, heads) distance of the first parent's heads to parent p's, their inner neurons matched best."""
    neurons = kind.entries[0][1].shape[1]
    between = np.zeros((heads, neurons, heads, neurons))
    for site, places in kind.entries:
        found = reader.distances(site, places.ravel(), 0, places.ravel(), p)
        between += found.reshape(heads, neurons, heads, neurons)
    costs = np.zeros((heads, heads))
    for h in range(heads):
        for g in range(heads):
            inner = between[h, :, g, :]
            costs[h, g] = inner[linear_sum_assignment(inner)].sum()
    return costs


def _summed(distances: Array, heads: int) -> Array:
    """(heads, heads) sum over entries that keep their order."""
    each = len(distances) // heads
    return np.einsum("hege->hg", distances.reshape(heads, each, heads, each))


def _inner_stats(
    context: FusionContext, reader: _Reader, kind: _Kind, name: str, sources: Sequence[int]
) -> SpaceStats:
    """Moments of the inner neurons of the heads `sources` (one a parent) that meet in one fused head."""
    neurons = kind.entries[0][1].shape[1]
    k = len(sources)
    gram = np.zeros((k * neurons, k * neurons))
    for site, places in kind.entries:
        for p in range(k):
            for q in range(k):
                part = reader.block(site, places[sources[p]], p, places[sources[q]], q)
                gram[p * neurons : (p + 1) * neurons, q * neurons : (q + 1) * neurons] += part
    importance = tuple(
        context.importance[p][kind.names[head]].double().cpu().numpy() for p, head in enumerate(sources)
    )
    return SpaceStats(
        space=name,
        sizes=(neurons,) * k,
        gram=gram,
        means=np.zeros(k * neurons),
        count=1,
        importance=importance,
        size=neurons,
        seed=context.seed,
        freedom=context.trace.spaces[name].freedom,
    )
