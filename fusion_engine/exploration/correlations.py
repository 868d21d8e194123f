"""The correlations between a space's neurons, from the covariance that a run has kept. NumPy alone."""

import numpy as np

from fusion_engine import store
from fusion_engine.core.types import Array, Indices

MOST = 1024


def read_correlations(run: str, index: int, most: int = MOST) -> tuple[Indices, Array] | None:
    """Which neurons, (m,) ascending: all, or the `most` most important of more; and their correlations (m, m) in
    [-1, 1], 0 with neurons that never change. Of space number `index` of a finished explore or fuse run; None where
    that has kept no covariance, being of an earlier version, or of more than 4,096 neurons."""
    kept = store.read_arrays(run, "features.npz", f"{index}/covariance")
    if not kept:
        return None
    importance = store.read_arrays(run, "explore.npz", f"{index}/importance")[""]
    chosen = np.sort(np.argsort(-importance, kind="stable")[:most]).astype(np.int64)
    covariance = kept[""][np.ix_(chosen, chosen)].astype(np.float64, copy=False)
    deviation = np.sqrt(np.diag(covariance).clip(0))
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return chosen, (covariance * scale[:, None] * scale).clip(-1, 1)
