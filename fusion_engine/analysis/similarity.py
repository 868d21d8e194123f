"""How alike the parents' features are, space by space: linear CKA, canonical correlations, distance correlations."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch

from ..core.progress import Progress
from ..core.seeds import numpy_generator
from ..core.types import Array, Site, State
from ..data import Dataset
from ..graph import Program, Trace, read_site
from ..stats import Moments, fitting_batch, grouping_sites, parent_moments
from .canonical import canonical_correlations, linear_cka, svcca
from .distance_correlation import correlation, partial_correlation, u_centred

MEASURES = ("cka", "svcca", "cca", "distance_correlation", "partial_distance_correlation")


@dataclass(frozen=True)
class SpaceSimilarity:
    """Similarities of k parents in one space: measure -> (k, k) symmetric matrix with ones on its diagonal.

    rows: behind the moments, samples x positions. Canonical correlations of fewer rows than neurons are 1 whatever
    the features, and `rows` is how a reader can tell. samples: behind the distance correlations.
    """

    name: str
    sizes: tuple[int, ...]
    rows: int
    samples: int
    measures: dict[str, Array]

    def as_json(self) -> dict[str, Any]:
        """Plain values for reports."""
        matrices = {name: np.round(matrix, 6).tolist() for name, matrix in self.measures.items()}
        return vars(self) | {"sizes": list(self.sizes), "measures": matrices}


def similarity(
    trace: Trace,
    states: Sequence[State],
    data: Dataset,
    *,
    most_samples: int = 512,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> list[SpaceSimilarity]:
    """Similarity of every pair of parents in every space, by depth. Labels are not used.

    Features are the spaces' pre-activations (`Space.features`); of attention heads and channel groups every entry
    counts by itself, at each place it is read ("name@0", "name@1"). All measures but the distance correlations come
    from joint second moments over samples and positions. Distance correlations compare samples, by their features'
    means over positions (several places of one space side by side), on at most `most_samples` samples drawn with
    `seed`. The partial one is the mean over all other parents as the control, and is there from three parents on.
    Parents run on `device`.
    """
    sites, progress = grouping_sites(trace), progress or Progress()
    reading = progress.part(0.0, 0.6).saying("second moments of the features")
    moments = parent_moments(trace, states, data, sites=sites, device=str(device), progress=reading)
    drawn = data
    if len(data) > most_samples:
        chosen = numpy_generator(seed, "similarity").choice(len(data), most_samples, replace=False)
        drawn = data.subset(np.sort(chosen).tolist())
    pooled = _pooled(trace, states, drawn, device, progress.part(0.6, 0.8))
    widths = [grouping_sites(trace.fitting(state)) for state in states]
    found = []
    for name, _ in progress.part(0.8, 1.0).each(sites, lambda name: f"comparing features of {name}"):
        sizes = tuple(len(of_parent[name][0].index) for of_parent in widths)
        of_space = _from_moments(moments[name], sizes)
        if len(drawn) >= 4:
            of_space |= _from_distances([own[name] for own in pooled])
        found.append(SpaceSimilarity(name, sizes, moments[name].count, len(drawn), of_space))
    return found


def cka_by_space(
    trace: Trace,
    states: Sequence[State],
    data: Dataset,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> dict[str, tuple[Array, int]]:
    """Linear CKA (k, k) of the parents' features in every space, by depth, and the rows that it is of: as `similarity`
    gives it, without the other measures. Labels are not used."""
    sites = grouping_sites(trace)
    widths = [grouping_sites(trace.fitting(state)) for state in states]
    found = {}
    for name, own in parent_moments(trace, states, data, sites=sites, device=str(device), progress=progress).items():
        covariance, parts = _covariance(own, [len(of_parent[name][0].index) for of_parent in widths])
        cka = np.eye(len(states))
        for p, q in combinations(range(len(states)), 2):
            xx, xy, yy = (covariance[parts[a], parts[b]] for a, b in ((p, p), (p, q), (q, q)))
            cka[p, q] = cka[q, p] = linear_cka(xx, xy, yy)
        found[name] = cka, own.count
    return found


def _covariance(moments: Moments, sizes: Sequence[int]) -> tuple[Array, list[slice]]:
    """Of all parents' neurons, and where each parent's are."""
    ends = np.cumsum([0, *sizes])
    covariance: Array = moments.gram / moments.count - np.outer(moments.mean, moments.mean)
    return covariance, [slice(a, b) for a, b in pairwise(ends)]


def _from_moments(moments: Moments, sizes: Sequence[int]) -> dict[str, Array]:
    covariance, parts = _covariance(moments, sizes)
    out = {name: np.eye(len(sizes)) for name in ("cka", "svcca", "cca")}
    for p, q in combinations(range(len(sizes)), 2):
        xx, xy, yy = (covariance[parts[a], parts[b]] for a, b in ((p, p), (p, q), (q, q)))
        correlations = canonical_correlations(xx, xy, yy)
        mean = float(correlations.mean()) if correlations.size else 0.0
        for name, value in (("cka", linear_cka(xx, xy, yy)), ("svcca", svcca(xx, xy, yy)), ("cca", mean)):
            out[name][p, q] = out[name][q, p] = value
    return out


def _from_distances(features: Sequence[Array]) -> dict[str, Array]:
    centred = [u_centred(f) for f in features]
    k = len(centred)
    plain, partial = np.eye(k), np.eye(k)
    for p, q in combinations(range(k), 2):
        plain[p, q] = plain[q, p] = correlation(centred[p], centred[q])
        controls = [partial_correlation(centred[p], centred[q], centred[c]) for c in range(k) if c not in (p, q)]
        partial[p, q] = partial[q, p] = float(np.mean(controls)) if controls else 0.0
    found = {"distance_correlation": plain}
    return found | {"partial_distance_correlation": partial} if k > 2 else found


def _pooled(
    trace: Trace, states: Sequence[State], data: Dataset, device: torch.device | str, progress: Progress
) -> list[dict[str, Array]]:
    """Per parent and space (samples, neurons x entries) features, averaged over positions, places side by side."""
    found: list[dict[str, Array]] = []
    for state, _ in progress.each(states, lambda state: "distances between samples"):
        sites = grouping_sites(trace.fitting(state))
        nodes = list(dict.fromkeys(site.node for places in sites.values() for site in places))
        program = Program(trace, None, nodes)
        placed = {name: tensor.to(device) for name, tensor in state.items()}
        parts: dict[str, list[Array]] = {name: [] for name in sites}
        with torch.inference_mode():
            for x, _ in data.batches(fitting_batch(trace)):
                tensors = dict(zip(nodes, program(placed, x.to(device)), strict=True))
                for name, places in sites.items():
                    parts[name].append(np.concatenate([_means(trace, tensors[s.node], s) for s in places], 1))
        found.append({name: np.concatenate(batches) for name, batches in parts.items()})
    return found


def _means(trace: Trace, tensor: torch.Tensor, site: Site) -> Array:
    """(samples, neurons x entries)."""
    rest = [dim for dim in range(tensor.ndim) if dim not in site.dims]
    features = read_site(tensor, site).cpu().double().reshape(site.index.size, *(tensor.shape[d] for d in rest))
    place = trace.capture.lies(site.node)
    by_sample = place._replace(dim=1 + rest.index(place.dim)).first(features)
    means: Array = by_sample.reshape(len(by_sample), site.index.size, -1).mean(-1).numpy()
    return means
