"""Group attention heads and channel groups: whole heads first, then the neurons inside the heads that met, and those
that lie across all heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..core import registry
from ..core.recipe import Step
from ..core.types import Array, Grouping, Indices
from ..fusing import Inputs
from ..graph import Nest, Trace
from ..stats import Moments, SpaceStats, entry_key
from .from_labels import hard_grouping, identity_grouping
from .one_space import group

_ROUNDS = 20  # of matching heads and what lies across them in turn; the cost falls each time


@dataclass(frozen=True)
class _Kind:
    """Neurons of one kind inside the heads: names[h] their space in head h; entries: one (heads, neurons) array of
    positions among a block's entries for every tensor entry a neuron has, with the feature site it is read at."""

    names: tuple[str, ...]
    entries: tuple[tuple[int, Indices], ...]


def group_heads(inputs: Inputs, nest: Nest, moments: Mapping[str, Moments], step: Step) -> dict[str, Grouping]:
    """Groupings of a block space and of all spaces inside its neurons.

    A fused head needs exactly one head of every parent, and inside it exactly one neuron of every head, or queries
    would meet the keys of other neurons. So a method without that property gives way to `balanced` here, which the
    groupings' info says ('fallback').

    A method that sees weights alone gives way too, to `permutation` if it pairs neurons.

    Heads are compared by the smallest distance that a matching of their inner neurons reaches (all kinds together),
    and matched to the first parent's by linear sum assignment. Where neurons lie across the heads (a norm that
    all heads share), both are matched in turn until neither changes: an optimum that neither alone can better.
    """
    trace, block = inputs.trace, inputs.trace.spaces[nest.block]
    k, heads = inputs.count, block.size
    spec = registry.get("grouping", step.method)
    fallback = "" if spec.pairs else f"{step.method} would split heads"
    if spec.scope == "network":
        fallback = f"{step.method} does not look into heads"
    used = Step(method="permutation" if spec.pairs else "balanced", parameters={}) if fallback else step
    kinds = [_kind(trace, nest, kind) for kind in nest.kinds]
    across = [_across(trace, nest, name) for name in nest.across]
    reader = _Reader(nest, moments)
    met = [np.arange(heads)]
    for p in range(1, k):
        costs = np.zeros((heads, heads))
        for kind in kinds:
            costs += _kind_costs(reader, kind, p, heads)
        for i, at in enumerate(nest.loose):
            if len(at):
                width = nest.sites[i].index.shape[1]
                positions = (np.arange(heads)[:, None] * width + at[None, :]).ravel()
                between = reader.distances(i, positions, p).reshape(heads, len(at), heads, len(at))
                costs += np.einsum("hege->hg", between)  # entries that keep their order
        met.append(_met(costs, [_between(reader, kind, p, heads) for kind in across]))
    labels = [np.argsort(m) for m in met]  # of parent p's head g: the fused head it goes to
    info = {"fallback": fallback} if fallback else {}
    found = {
        nest.block: hard_grouping(
            nest.block, used.method, np.concatenate(labels), [heads] * k, heads, np.ones(heads * k), info
        )
    }
    for kind in kinds:
        for head, name in enumerate(kind.names):
            sources = [kind.names[int(m[head])] for m in met]
            importance = [inputs.importance[p][source].double().cpu().numpy() for p, source in enumerate(sources)]
            stats = _inner_stats(trace, reader, kind, name, sources, importance, inputs.seed)
            made = group(stats, used.method, used.parameters)
            inside = {"within": nest.block, "sources": sources, **info}
            found[name] = Grouping(name, made.method, made.merge, made.unmerge, made.labels, {**made.info, **inside})
    for kind in across:
        name = kind.names[0]
        importance = [inputs.importance[p][name].double().cpu().numpy() for p in range(k)]
        stats = _stats(trace, reader, kind, name, list(np.stack(met, 1)), importance, inputs.seed)
        made = group(stats, used.method, used.parameters)
        inside = {"within": nest.block, "sources": [name] * k, "heads": np.stack(met, 1).tolist(), **info}
        found[name] = Grouping(name, made.method, made.merge, made.unmerge, made.labels, {**made.info, **inside})
    for name in nest.unseen:
        size = trace.spaces[name].size
        found[name] = identity_grouping(name, [size] * k, size)
    return found


def inner_stats(
    trace: Trace,
    name: str,
    sources: Sequence[str],
    moments: Mapping[str, Moments],
    importance: Sequence[Array],
    seed: int,
    heads: Sequence[Sequence[int]] = (),
) -> SpaceStats:
    """Moments of the neurons that met in the fused space `name` inside a head: parent p's are those of its own space
    `sources[p]`, a head matched with the others. moments: of `grouping_sites`. importance: theirs, by parent. heads: of
    a space across the heads, which head of each parent met in every fused head."""
    nest = next(n for n in trace.nests.values() if name in n.inside)
    reader = _Reader(nest, moments)
    if name in nest.across:
        return _stats(trace, reader, _across(trace, nest, name), name, heads, importance, seed)
    kind = next(kind for kind in nest.kinds if name in kind)
    return _inner_stats(trace, reader, _kind(trace, nest, kind), name, sources, importance, seed)


class _Reader:
    """Second moments between entries of a block space, by feature site, parent and position in the block's index."""

    def __init__(self, nest: Nest, moments: Mapping[str, Moments]) -> None:
        self.moments = [moments[entry_key(nest.block, i)] for i in range(len(nest.sites))]
        self.sizes = [site.index.size for site in nest.sites]

    def distances(self, site: int, positions: Indices, p: int) -> Array:
        """(positions, positions) squared distances of the first parent's entries to parent p's."""
        gram, others = self.moments[site].gram, positions + p * self.sizes[site]
        own = np.diag(gram)
        between = own[positions][:, None] + own[others][None, :] - 2 * gram[np.ix_(positions, others)]
        return np.maximum(between, 0.0)


def _kind(trace: Trace, nest: Nest, names: tuple[str, ...]) -> _Kind:
    entries = []
    for number, site in enumerate(nest.sites):
        flat = site.index.ravel()
        order = np.argsort(flat)
        found = []
        for name in names:
            inner = next((s for s in trace.spaces[name].sites if s.node == site.node), None)
            if inner is not None and np.isin(inner.index, flat).all():
                found.append(order[np.searchsorted(flat, inner.index, sorter=order)])
        if len(found) == len(names):
            places = np.stack(found)  # (heads, neurons, entries)
            entries += [(number, places[:, :, e]) for e in range(places.shape[2])]
    return _Kind(names, tuple(entries))


def _across(trace: Trace, nest: Nest, name: str) -> _Kind:
    """The neurons of a space across the heads: entry by entry in head after head."""
    entries = []
    for number, site in enumerate(nest.sites):
        inner = next((s for s in trace.spaces[name].sites if (s.node, s.dims) == (site.node, site.dims)), None)
        if inner is None:
            continue
        at = {position: i for i, position in enumerate(site.index.ravel().tolist())}
        flat = np.sort([[at[p] for p in row] for row in inner.index.tolist()], 1)  # (neurons, heads x entries)
        places = flat.reshape(len(flat), len(site.index), -1).swapaxes(0, 1)
        entries += [(number, places[:, :, e]) for e in range(places.shape[2])]
    return _Kind((name,) * trace.spaces[nest.block].size, tuple(entries))


def _met(costs: Array, across: Sequence[Array]) -> Indices:
    """The head of the other parent that each head meets. costs: (heads, heads) of what is inside them, matched best;
    across: (heads, neurons, heads, neurons) between what lies across them, which all heads match alike."""
    if not across:
        return np.asarray(linear_sum_assignment(costs)[1])
    free = sum((_best(between) for between in across), costs)
    met, heads = np.asarray(linear_sum_assignment(free)[1]), np.arange(len(costs))
    for _ in range(_ROUNDS):
        total = costs.copy()
        for between in across:
            own = np.arange(between.shape[1])
            pairs = linear_sum_assignment(between[heads, :, met, :].sum(0))[1]
            total += between[:, own, :, pairs].sum(0)
        again = np.asarray(linear_sum_assignment(total)[1])
        if total[heads, again].sum() >= total[heads, met].sum():
            break
        met = again
    return met


def _kind_costs(reader: _Reader, kind: _Kind, p: int, heads: int) -> Array:
    """(heads, heads) distance of the first parent's heads to parent p's, their inner neurons matched best."""
    return _best(_between(reader, kind, p, heads))


def _between(reader: _Reader, kind: _Kind, p: int, heads: int) -> Array:
    """(heads, neurons, heads, neurons) distances of the first parent's neurons to parent p's."""
    neurons = kind.entries[0][1].shape[1]
    between = np.zeros((heads, neurons, heads, neurons))
    for site, places in kind.entries:
        between += reader.distances(site, places.ravel(), p).reshape(heads, neurons, heads, neurons)
    return between


def _best(between: Array) -> Array:
    heads = len(between)
    costs = np.zeros((heads, heads))
    for h in range(heads):
        for g in range(heads):
            inner = between[h, :, g, :]
            costs[h, g] = inner[linear_sum_assignment(inner)].sum()
    return costs


def _inner_stats(
    trace: Trace,
    reader: _Reader,
    kind: _Kind,
    name: str,
    sources: Sequence[str],
    importance: Sequence[Array],
    seed: int,
) -> SpaceStats:
    met = [[kind.names.index(source) for source in sources]]
    return _stats(trace, reader, kind, name, met, importance, seed)


def _stats(
    trace: Trace,
    reader: _Reader,
    kind: _Kind,
    name: str,
    met: Sequence[Sequence[int]],
    importance: Sequence[Array],
    seed: int,
) -> SpaceStats:
    """Moments of one kind of neurons over the fused heads `met`: each the heads, by parent, that met in it."""
    neurons, k = trace.spaces[name].size, len(importance)
    gram, mean, count = np.zeros((k * neurons, k * neurons)), np.zeros(k * neurons), 0
    for heads in met:
        for site, places in kind.entries:
            at = np.concatenate([places[head] + p * reader.sizes[site] for p, head in enumerate(heads)])
            found = reader.moments[site]
            gram += found.gram[np.ix_(at, at)]
            mean += found.mean[at] * found.count
            count += found.count
    return SpaceStats(
        space=name, sizes=(neurons,) * k, gram=gram, means=mean / max(count, 1), count=count,
        importance=tuple(importance), size=neurons, seed=seed, freedom=trace.spaces[name].freedom,
    )  # fmt: skip
