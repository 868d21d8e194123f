"""UMAP of neurons (McInnes, Healy & Melville 2018), with everything umap trips over handled before it is called."""

import contextlib
import threading
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion_engine.core.seeds import numpy_generator, stream_seed

MAX_NEURONS = 4096
_MIN_NEURONS = 4
_lock = threading.Lock()  # numba's compiler and umap's random state are not safe under concurrent fits


@dataclass(frozen=True)
class Embedding:
    """coordinates: (shown, 2) float32. index: (shown,) int64, which points are shown, ascending.

    method: 'umap', or 'pca' where umap cannot work. note: a line for the reader, '' if there is nothing to say.
    """

    coordinates: NDArray[np.float32]
    index: NDArray[np.int64]
    method: str
    note: str


def umap_coordinates(
    points: NDArray[np.floating], *, neighbours: int = 15, min_dist: float = 0.1, seed: int = 0
) -> Embedding:
    """Two-dimensional UMAP of points (N, d), best given as principal coordinates: columns by falling variance.

    The same points, parameters and seed give the same picture. Non-finite points are left out, more than
    MAX_NEURONS are sampled, and with fewer than 4 points, or points that all coincide, the first two
    columns are returned instead; `note` says each of these.
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
            coordinates = _fit(shown, min(neighbours, len(shown) - 1), min_dist, seed)
            if np.isfinite(coordinates).all():
                return Embedding(coordinates, index, "umap", "; ".join(notes))
    padded = np.zeros((len(shown), 2), np.float32)
    padded[:, : min(2, shown.shape[1])] = shown[:, :2]
    return Embedding(padded, index, "pca", "; ".join([*notes, f"{why}: principal components are shown"]))


def _fit(points: NDArray[np.float32], neighbours: int, min_dist: float, seed: int) -> NDArray[np.float32]:
    from umap import UMAP

    # Spectral initialisation solves an eigenproblem that does not exist for a handful of points.
    small = len(points) < 16
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = UMAP(
            n_components=2,
            n_neighbors=max(2, neighbours),
            min_dist=min_dist,
            init="random" if small else "spectral",
            random_state=stream_seed(seed, "umap") % 2**31,
            n_jobs=1,
        )
        return np.asarray(model.fit_transform(points), np.float32)
