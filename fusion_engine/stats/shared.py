"""What several fusions of the same parents have in common, computed once: traces, importances, joint moments."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..core.types import Site, State
from ..data import Dataset
from ..graph import Trace
from ..parents import state_digest
from .cache import Claim, StatisticsCache, Stored
from .moments import Precision
from .parent_moments import FeatureMoments, Moments

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """Joint moments of parents: all that they depend on.

    sites: where each space is read. size: samples a batch. held: (samples,) mask of those whose moments are wanted
    apart as well. points: wide spaces are wanted as points.
    """

    trace: Trace
    states: Sequence[State]
    data: Dataset
    sites: Mapping[str, Sequence[Site]]
    size: int
    held: Tensor | None = None
    precision: Precision = "mixed"
    points: bool = False


class SharedStatistics:
    """A `StatisticsCache` as one fusion sees it; without a cache everything is computed.

    Keys are digests of the weights, the samples, the graph and every parameter, and of what else may change a rounding
    (device, threads, versions), so that what is found is bit for bit what would be computed. reused: one entry a part
    that was not computed: {"what", "stage", "seconds"}, the seconds that computing it took. waited: seconds by stage
    spent waiting for another process that computed the same.

    known: digests of states that are known already. tick: called while waiting, may raise.
    """

    def __init__(
        self,
        cache: StatisticsCache | None = None,
        *,
        known: Sequence[tuple[State, str]] = (),
        device: torch.device | str = "cpu",
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._cache, self._known, self._device, self._tick = cache, list(known), str(device), tick
        self._graphs: list[tuple[Trace, str]] = []
        self.reused: list[dict[str, Any]] = []
        self.waited: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """What computing the reused parts took, but for evaluating, which is not part of a fusion."""
        return float(sum(entry["seconds"] for entry in self.reused if entry["stage"] != "evaluate"))

    def once(self, what: str, stage: str, key: Sequence[Any], compute: Callable[[], T]) -> T:
        """compute(), or its result from an earlier fusion of this process. key: everything it depends on."""
        if self._cache is None:
            return compute()
        value, seconds = self._cache.once((what, *key), compute)
        if seconds is not None:
            self._note(what, stage, seconds)
        return value

    def scores(
        self,
        what: str,
        trace: Trace,
        state: State,
        data: Dataset,
        method: Mapping[str, Any],
        compute: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Importance scores of one parent by `method` (its name and parameters), from `compute` if they are new."""
        if self._cache is None:
            return compute()
        key = "importance", self._digest(state), data.digest, self._graph(trace), dict(method)
        return self._tensors(f"importance of {what}", "importance", key, compute)

    def outputs(self, trace: Trace, states: Sequence[State], data: Dataset, compute: Callable[[], Tensor]) -> Tensor:
        """What comparisons with the networks `states` need of them, from `compute` if it is new."""
        if self._cache is None:
            return compute()
        key = "outputs", [self._digest(state) for state in states], data.digest, self._graph(trace)
        return self._tensors("outputs of the references", "evaluate", key, lambda: {"all": compute()})["all"]

    def _tensors(
        self, what: str, stage: str, key: Sequence[Any], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        with self._claim(self._key(*key), stage) as claim:
            if claim.found is None:
                began = time.perf_counter()
                found = compute()
                arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in found.items()}
                claim.keep(arrays, {"all": time.perf_counter() - began})
                return found
            self._note(what, stage, claim.found.seconds["all"])
            return {name: torch.from_numpy(array.copy()) for name, array in claim.found.arrays.items()}

    def moments(
        self, wanted: Wanted, read: Callable[[FeatureMoments], None], *, features: float | None = None
    ) -> dict[str, Moments]:
        """Joint moments by site; if they are new, `read` gives the parents' tensors to a FeatureMoments.

        features: seconds the features took, where the caller has them already for purposes of its own.
        """
        samples = len(wanted.data) if wanted.points else 0
        gathered = FeatureMoments(wanted.trace, wanted.sites, wanted.precision, samples)
        if self._cache is None:
            read(gathered)
            return gathered.result()
        with self._claim(self._moments_key(wanted), "grouping") as claim:
            if claim.found is not None:
                return self._unpacked(claim.found, features is None)
            began = time.perf_counter()
            read(gathered)
            found = gathered.result()
            spent = time.perf_counter() - began - gathered.seconds
            seconds = {"features": spent if features is None else features, "products": gathered.seconds}
            claim.keep(_packed(found), seconds)
            return found

    def known_moments(self, wanted: Wanted) -> dict[str, Moments] | None:
        """As `moments`, for a caller who needs the features anyway; None if the moments are not known."""
        found = None if self._cache is None else self._cache.find(self._moments_key(wanted))
        return None if found is None else self._unpacked(found, False)

    def _unpacked(self, found: Stored, with_features: bool) -> dict[str, Moments]:
        saved = found.seconds["products"] + (found.seconds["features"] if with_features else 0.0)
        self._note("joint moments", "grouping", saved)
        return {name: _moments(found.arrays, name) for name in found.arrays["names"].tolist()}

    def _moments_key(self, wanted: Wanted) -> str:
        held = wanted.held
        mask = None if held is None else hashlib.sha256(held.cpu().numpy().tobytes()).hexdigest()
        states, data = [self._digest(state) for state in wanted.states], wanted.data
        where = self._graph(wanted.trace), _sites_digest(wanted.sites)
        how = wanted.precision, wanted.points
        return self._key("moments", states, data.digest, *where, min(wanted.size, len(data)), mask, *how)

    @contextmanager
    def _claim(self, key: str, stage: str) -> Iterator[Claim]:
        assert self._cache is not None
        with self._cache.claim(key, self._tick) as claim:
            self.waited[stage] = self.waited.get(stage, 0.0) + claim.waited
            yield claim

    def _note(self, what: str, stage: str, seconds: float) -> None:
        self.reused.append({"what": what, "stage": stage, "seconds": round(seconds, 4)})

    def _key(self, *parts: Any) -> str:
        around = [__version__, torch.__version__, np.__version__, self._device, torch.get_num_threads()]
        return hashlib.sha256(json.dumps([*around, *parts], sort_keys=True).encode()).hexdigest()[:40]

    def _digest(self, state: State) -> str:
        for known, digest in self._known:
            if known is state:
                return digest
        self._known.append((state, state_digest(state)))
        return self._known[-1][1]

    def _graph(self, trace: Trace) -> str:
        for known, digest in self._graphs:
            if known is trace:
                return digest
        self._graphs.append((trace, _graph_digest(trace)))
        return self._graphs[-1][1]


def _graph_digest(trace: Trace) -> str:
    """Digest of the operations, constants and spaces, at all widths."""
    graph, spaces = str(trace.capture.graph), str(list(trace.spaces))
    parts = [graph, spaces, state_digest(trace.capture.constants), *map(_graph_digest, trace.variants)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _sites_digest(sites: Mapping[str, Sequence[Site]]) -> str:
    sha = hashlib.sha256()
    for name, places in sites.items():
        for site in places:
            sha.update(f"{name}:{site.node}:{site.dims}:{site.index.shape};".encode())
            sha.update(np.ascontiguousarray(site.index).data)
    return sha.hexdigest()


def _packed(moments: Mapping[str, Moments]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {"names": np.array(list(moments))}
    for name, found in moments.items():
        arrays |= {f"{name}|{k}": np.asarray(part) for k, part in found._asdict().items() if part is not None}
    return arrays


def _moments(arrays: Mapping[str, np.ndarray], name: str) -> Moments:
    found: dict[str, Any] = {part: arrays.get(f"{name}|{part}") for part in Moments._fields}
    return Moments(**found | {part: int(found[part] or 0) for part in ("count", "held_count", "held_points")})
