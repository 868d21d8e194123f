"""Joint moments of all parents' features, for all spaces, in one pass over the calibration data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.progress import Progress
from ..core.types import Array, Site, State
from ..data import Dataset
from ..graph import Program, Trace, read_site, shape
from .batches import fitting_batch
from .counted import counted_rows
from .moments import GramAccumulator, Precision
from .points import PointAccumulator, is_wide

Sites = Mapping[str, Sequence[Site]]


class Moments(NamedTuple):
    """Joint moments of [F_1 ... F_k] in one space: gram (N, N) (sum of f f^T), mean (N,), number of rows.

    held: the part of the gram that is of held-out samples, where it was asked for, with their own mean and number.
    points, unit, held_points, error: of a wide space, what `Points` holds; its gram and held are not known.
    """

    gram: Array
    mean: Array
    count: int  # type: ignore[assignment]  # hides tuple.count
    held: Array | None = None
    held_mean: Array | None = None
    held_count: int = 0
    points: np.ndarray | None = None
    unit: Array | None = None
    held_points: int = 0
    error: Array | None = None


def feature_sites(trace: Trace, spaces: Iterable[str] | None = None) -> dict[str, tuple[Site, ...]]:
    """Where each space's pre-activation features are read; a residual stream is read at all its sums."""
    found = {name: trace.spaces[name].features for name in (trace.spaces if spaces is None else spaces)}
    return {name: sites for name, sites in found.items() if sites}


def grouping_sites(trace: Trace, features: str = "pre") -> dict[str, tuple[Site, ...]]:
    """What a grouping needs to see: plain spaces whole; of a block space (heads) every entry by itself, at each of
    its places under `entry_key`, which covers the spaces inside it too.

    features: 'post' reads plain spaces behind their activation function, where they have such a place.
    """
    nests = trace.nests
    behind = post_activation_sites(trace) if features == "post" else {}
    if trace.variants:  # positions inside a flattened map belong to one width
        behind = {n: s for n, s in behind.items() if all(_whole_dim(trace, site) is not None for site in s)}
    inner = {name for nest in nests.values() for name in nest.inside}
    sites: dict[str, tuple[Site, ...]] = {}
    for name, places in feature_sites(trace).items():
        if name in nests:
            for i, site in enumerate(nests[name].sites):
                sites[entry_key(name, i)] = (replace(site, index=site.index.reshape(-1, 1)),)
        elif name not in inner:
            sites[name] = behind.get(name, places)
    return sites


def entry_key(block: str, site: int) -> str:
    """Key of the moments of a block space's entries at site number `site` of its nest."""
    return f"{block}@{site}"


def post_activation_sites(trace: Trace, spaces: Iterable[str] | None = None) -> dict[str, tuple[Site, ...]]:
    """Where each space's post-activation features are read: the input of the first layer that reads the space, of
    every layer where the space is a residual stream.

    That is after pooling, where there is some. Spaces no layer reads are left out.
    """
    read = {layer.input for layer in trace.layers.values()}
    found: dict[str, tuple[Site, ...]] = {}
    for name in trace.spaces if spaces is None else spaces:
        sites = tuple(site for site in trace.spaces[name].sites if site.node in read)
        if sites:
            found[name] = sites if len(trace.spaces[name].features) > 1 else sites[:1]
    return found


class FeatureMoments:
    """Gathers the joint moments of spaces from the parents' tensors, node by node and batch by batch.

    sites: where each space is read. A space read at several nodes gets the sum of their second moments, each
    weighted as if all had as many rows. `nodes`: the nodes whose tensors are wanted. `seconds`: spent on products.
    samples: how many will come, for callers that take wide spaces as points; 0 for those that do not.
    """

    def __init__(self, trace: Trace, sites: Sites, precision: Precision = "double", samples: int = 0) -> None:
        self._trace, self._sites, self._precision = trace, sites, precision
        self._rows = _rows_to_come(trace, sites, samples)
        self._at: dict[str, list[tuple[str, int, Site, int | None]]] = {}
        for name, places in sites.items():
            for i, site in enumerate(places):
                self._at.setdefault(site.node, []).append((name, i, site, _whole_dim(trace, site)))
        self._trace = trace
        self._grams: dict[tuple[str, int, bool], GramAccumulator] = {}
        self._points: dict[str, PointAccumulator] = {}
        self.seconds = 0.0

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that are read, once each."""
        return list(self._at)

    def update(
        self, node: str, tensors: Sequence[Tensor], held: Tensor | None = None, counted: Tensor | None = None
    ) -> None:
        """Add the parents' tensors at `node` for one batch. held: (samples,) mask of samples whose moments are to be
        known apart as well. counted: (samples, T) mask of the positions that count, None for all."""
        began = time.perf_counter()
        place = None if held is None else self._trace.capture.place(node)
        if held is None or place is None:  # samples do not stay apart
            self._add(node, tensors, False, counted)
        else:
            for part, mask in ((False, ~held), (True, held)):
                if bool(mask.any()):
                    picked = place.spread(mask).nonzero().flatten()
                    own = None if counted is None else counted[mask.to(counted.device)]
                    self._add(node, [t.index_select(place.dim, picked) for t in tensors], part, own)
        self.seconds += time.perf_counter() - began

    def _add(self, node: str, tensors: Sequence[Tensor], held: bool, counted: Tensor | None) -> None:
        for name, i, site, whole in self._at.get(node, ()):
            kept = counted_rows(self._trace, node, counted, tensors[0].shape, site.dims)
            if kept is not None:
                rows = self._some_rows(site, tensors, kept.to(tensors[0].device))
                if not len(rows):
                    continue
            elif whole == 1 and tensors[0].dim() > 2:
                maps = torch.cat(list(tensors), 1).flatten(2)
                if self._is_wide(name, maps.shape[1]):
                    self._add_points(name, i, held, maps.movedim(1, -1).reshape(-1, maps.shape[1]))
                else:
                    self._gram(name, i, held, maps.shape[1]).update_maps(maps)
                continue
            elif whole is not None:
                rows = torch.cat([t.movedim(whole, -1).reshape(-1, t.shape[whole]) for t in tensors], 1)
            else:
                rows = torch.cat([read_site(t, site) for t in tensors]).T
            if self._is_wide(name, rows.shape[1]):
                self._add_points(name, i, held, rows)
            else:
                self._gram(name, i, held, rows.shape[1]).update(rows)

    def _is_wide(self, name: str, width: int) -> bool:
        return name in self._rows and is_wide(width, self._rows[name])

    def _add_points(self, name: str, place: int, held: bool, rows: Tensor) -> None:
        if name not in self._points:
            self._points[name] = PointAccumulator(name, rows.shape[1], self._rows[name])
        self._points[name].update(place, held, rows)

    def _some_rows(self, site: Site, tensors: Sequence[Tensor], kept: Tensor) -> Tensor:
        """The rows of samples and positions that count."""
        whole = _whole_dim(self._trace, site)
        if whole is not None:
            return torch.cat([t.movedim(whole, -1).reshape(-1, t.shape[whole])[kept] for t in tensors], 1)
        # every entry of a neuron has all samples and positions
        return torch.cat([read_site(t, site)[:, kept.repeat(site.index.shape[1])].T for t in tensors], 1)

    def result(self) -> dict[str, Moments]:
        """Moments by space."""
        found = {}
        for name, places in self._sites.items():
            if name in self._points:
                points, mean, count, held_mean, held_count = self._points.pop(name).result()
                known = points.at, points.unit, points.held, points.error
                found[name] = Moments(np.zeros((0, 0)), mean, count, None, held_mean, held_count, *known)
                continue
            parts = [[self._grams.pop((name, i, held), None) for held in (False, True)] for i in range(len(places))]
            counts = [sum(part.count for part in pair if part is not None) for pair in parts]
            count, width = max(counts), next(part.width for pair in parts for part in pair if part is not None)
            gram, held_gram = np.zeros((width, width)), np.zeros((width, width))
            mean, held_mean, held_count = np.zeros(width), np.zeros(width), 0
            for pair, own in zip(parts, counts, strict=True):
                for part, held in zip(pair, (False, True), strict=True):
                    if part is not None:
                        product = part.gram.cpu().numpy() * (count / own)
                        gram += product
                        mean += part.sum.cpu().numpy() / (own * len(parts))
                        if held:
                            held_gram += product
                            held_mean += part.sum.cpu().numpy() / (part.count * len(parts))
                            held_count += round(part.count * count / own)
            found[name] = Moments(gram, mean, count * len(parts))
            if held_count:
                found[name] = Moments(gram, mean, count * len(parts), held_gram, held_mean, held_count)
        return found

    def _gram(self, name: str, place: int, held: bool, width: int) -> GramAccumulator:
        key = name, place, held
        if key not in self._grams:
            self._grams[key] = GramAccumulator(width, precision=self._precision)
        return self._grams[key]


def _rows_to_come(trace: Trace, sites: Sites, samples: int) -> dict[str, int]:
    """By space the rows that so many samples give at all its places; nothing where no space is taken as points. What
    is read entry by entry for block spaces is not."""
    if not samples:
        return {}
    traced = (shape(trace.capture.node(trace.inputs[0])) or (1,))[0]
    rows = {}
    for name, places in sites.items():
        if name in trace.spaces:
            shapes = [shape(trace.capture.node(site.node)) or () for site in places]
            others = [math.prod(s) // math.prod(s[d] for d in p.dims) for s, p in zip(shapes, places, strict=True)]
            per_place = [n * p.index.shape[1] for n, p in zip(others, places, strict=True)]
            rows[name] = sum(samples * n // traced for n in per_place)
    return rows


def _whole_dim(trace: Trace, site: Site) -> int | None:
    """The dimension a site covers from end to end in order, one entry a neuron: then any width can be read."""
    size = shape(trace.capture.node(site.node)) or ()
    whole = len(site.dims) == 1 and site.index.shape == (size[site.dims[0]], 1)
    return site.dims[0] if whole and bool((site.index.ravel() == np.arange(len(site.index))).all()) else None


def parent_moments(
    trace: Trace,
    states: Sequence[State],
    data: Dataset,
    *,
    spaces: Iterable[str] | None = None,
    sites: Sites | None = None,
    batch_size: int | None = None,
    precision: Precision = "double",
    progress: Progress | None = None,
    device: str = "cpu",
    held_out: Tensor | None = None,
) -> dict[str, Moments]:
    """Moments by space name. Every parent runs once over the data, and no activations outlive their batch.

    A row is a sample and position (and entry, in a space whose neurons carry several scalars). `sites` says
    where to read each space (default: `feature_sites` of `spaces`, the pre-activations). `batch_size` None
    takes one that fits in memory; it does not change the result. held_out: (samples,) mask of those whose moments
    are wanted apart as well. Labels are not used.
    """
    gathered = FeatureMoments(trace, feature_sites(trace, spaces) if sites is None else sites, precision)
    read_moments(
        gathered, trace, states, data, batch_size=batch_size, progress=progress, device=device, held_out=held_out
    )
    return gathered.result()


def read_moments(
    gathered: FeatureMoments,
    trace: Trace,
    states: Sequence[State],
    data: Dataset,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
    held_out: Tensor | None = None,
) -> None:
    """The pass of `parent_moments`: run every parent over the data and give the tensors to `gathered`."""
    program = Program(trace, None, gathered.nodes)
    moved = [{name: tensor.to(device) for name, tensor in state.items()} for state in states]
    done = 0
    with torch.inference_mode():
        for x, _ in data.batches(batch_size or fitting_batch(trace, copies=len(states))):
            values, counted = [program(state, x.to(device)) for state in moved], data.counted(x)
            held = None if held_out is None else held_out[done : done + len(x)].to(device)
            for node, tensors in zip(gathered.nodes, zip(*values, strict=True), strict=True):
                gathered.update(node, tensors, held, counted)
            done += len(x)
            if progress is not None:
                progress.report(done / len(data), "reading the parents' features")
