"""UMAP of neurons (McInnes, Healy & Melville 2018), with everything umap trips over handled before it is called."""

import contextlib
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion_engine.core.seeds import numpy_generator, stream_seed

from .fuzzy_graph import fuzzy_graph

MAX_NEURONS = 4096
_MIN_NEURONS = 4
_lock = threading.Lock()  # numba's compiler and umap's random state are not safe under concurrent fits


@dataclass(frozen=True)
class Embedding:
    """coordinates: (shown, 2 or 3) float32. index: (shown,) int64, which points are shown, ascending.

    method: 'umap', or 'pca' where umap cannot work. note: a line for the reader, '' if there is nothing to say.
    """

    coordinates: NDArray[np.float32]
    index: NDArray[np.int64]
    method: str
    note: str


def umap_coordinates(
    points: NDArray[np.floating], *, neighbours: int = 15, min_dist: float = 0.1, metric: str = "euclidean",
    dimensions: int = 2, seed: int = 0,
) -> Embedding:
    """UMAP of points (N, d), best given as principal coordinates: columns by falling variance.

    neighbours: how many each point is held close to, itself among them. min_dist: how close points may come. metric:
    one of METRICS. dimensions: 2 or 3. The same points, parameters and seed give the same picture. Non-finite points
    are left out, more than MAX_NEURONS are sampled, and with fewer than 4 points, or points that all coincide, the
    first columns are returned instead; `note` says each of these.
    """
    points = np.asarray(points, np.float32)
    finite = np.isfinite(points).all(1)
    index = np.flatnonzero(finite).astype(np.int64)
    notes = []
    if not finite.all():
        notes.append(f"{int((~finite).sum())} neurons with non-finite activations are left out")
    if len(index) > MAX_NEURONS:
        notes.append(f"{MAX_NEURONS:,} of {len(index):,} neurons are shown, drawn at random")
        index = np.sort(numpy_generator(seed, "umap", "sample").choice(index, MAX_NEURONS, replace=False))
    shown, why = points[index], "UMAP failed on these neurons"
    if len(shown) < _MIN_NEURONS or np.ptp(shown, axis=0).max(initial=0.0) == 0:
        why = "too few distinct neurons for UMAP"
    else:
        with contextlib.suppress(ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError):
            coordinates = _fit(shown, min(neighbours, len(shown) - 1), min_dist, metric, dimensions, seed)
            if np.isfinite(coordinates).all():
                return Embedding(coordinates, index, "umap", "; ".join(notes))
    padded = np.zeros((len(shown), dimensions), np.float32)
    kept = min(dimensions, shown.shape[1])
    padded[:, :kept] = shown[:, :kept]
    return Embedding(padded, index, "pca", "; ".join([*notes, f"{why}: principal components are shown"]))


def _fit(
    points: NDArray[np.float32], neighbours: int, min_dist: float, metric: str, dimensions: int, seed: int
) -> NDArray[np.float32]:
    graph = fuzzy_graph(points, max(2, neighbours), metric)
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _without_search_trees():
            from umap.umap_ import find_ab_params, simplicial_set_embedding
        a, b = find_ab_params(1.0, min_dist)
        laid_out, _ = simplicial_set_embedding(
            points,
            graph,
            n_components=dimensions,
            initial_alpha=1.0,
            a=a,
            b=b,
            gamma=1.0,
            negative_sample_rate=5,
            n_epochs=None,
            # Spectral initialisation solves an eigenproblem that does not exist for a handful of points.
            init="random" if len(points) < 16 else "spectral",
            random_state=np.random.RandomState(stream_seed(seed, "umap") % 2**31),
            metric=metric,
            metric_kwds={},
            densmap=False,
            densmap_kwds={},
            output_dens=False,
        )
        return np.asarray(laid_out, np.float32)


@contextlib.contextmanager
def _without_search_trees() -> Iterator[None]:
    """Import umap without pynndescent, which compiles its search trees as it is imported: 13 s where numba has no cache
    yet. Neighbours are found exactly here, so umap never calls it."""
    names = ("pynndescent", "pynndescent.distances", "pynndescent.sparse")
    stand_ins = {name: types.ModuleType(name) for name in names}
    vars(stand_ins["pynndescent"])["NNDescent"] = type("NNDescent", (), {})
    vars(stand_ins["pynndescent.distances"])["named_distances"] = {}
    vars(stand_ins["pynndescent.sparse"])["sparse_named_distances"] = {}
    if "umap" in sys.modules or "pynndescent" in sys.modules:
        stand_ins = {}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
