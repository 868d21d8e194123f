"""The fuzzy graph that UMAP lays out, from exact nearest neighbours, in NumPy: nothing is compiled."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

METRICS = ("euclidean", "manhattan", "chebyshev", "cosine", "correlation")
_STEPS = 64
_SMALLEST = 1e-3  # of the mean distance: no narrower kernel


def fuzzy_graph(points: NDArray[np.floating], neighbours: int, metric: str = "euclidean") -> csr_matrix:
    """(N, N) symmetric memberships in [0, 1] of the edges between each point and its nearest neighbours.

    points (N, d). neighbours counts a point itself, as in umap, and is at most N. The membership of an edge is
    exp(-max(0, distance - nearest) / width), with a width for each point that makes its memberships sum to
    log2(neighbours); the two directions a, b of an edge join to a + b - ab (McInnes, Healy & Melville 2018, section 3.1
    and algorithm 3). Raises ValueError where the metric is undefined on the points.
    """
    from sklearn.neighbors import NearestNeighbors

    others = neighbours - 1
    found = NearestNeighbors(n_neighbors=others, metric=metric, algorithm="brute").fit(points)
    distances, index = found.kneighbors()  # without an argument a point is not its own neighbour
    if not np.isfinite(distances).all():
        raise ValueError(f"the metric {metric} is undefined on these points")
    memberships = _memberships(np.asarray(distances, np.float64), np.log2(neighbours))
    rows = np.repeat(np.arange(len(points)), others)
    shape = (len(points), len(points))
    directed = csr_matrix((memberships.ravel(), (rows, index.ravel())), shape=shape)
    both = directed.multiply(directed.T)
    joined = csr_matrix(directed + directed.T - both, dtype=np.float32)
    joined.eliminate_zeros()
    return joined


def _memberships(distances: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """(N, k) memberships of rising distances (N, k): each row's sum is `target` where a width can make it so."""
    positive = np.where(distances > 0, distances, np.inf).min(1)
    nearest = np.where(np.isfinite(positive), positive, 0.0)
    beyond = np.maximum(distances - nearest[:, None], 0.0)
    low, high, width = np.zeros(len(distances)), np.full(len(distances), np.inf), np.ones(len(distances))
    for _ in range(_STEPS):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            sums = np.exp(-beyond / width[:, None]).sum(1)
        wide = sums > target
        high, low = np.where(wide, width, high), np.where(wide, low, width)
        width = np.where(np.isfinite(high), (low + high) / 2, 2 * width)
        width = np.clip(width, 1e-300, 1e300)
    # umap's means count the point itself, at distance 0.
    own, all_of_them = distances.sum(1) / (distances.shape[1] + 1), distances.sum() / (distances.size + len(distances))
    width = np.maximum(width, _SMALLEST * np.where(nearest > 0, own, all_of_them))
    return np.asarray(np.exp(-beyond / np.maximum(width, 1e-300)[:, None]))
