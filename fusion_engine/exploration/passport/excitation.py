"""Which samples excite neurons most and least, and how they answer to classes. NumPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusion_engine.core.types import Indices

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def extremes(values: np.ndarray, count: int) -> tuple[Indices, Indices]:
    """(n, count) numbers of the samples with the largest, and with the smallest, of `values` (samples, n); the first
    sample comes first among equals."""
    count = min(count, len(values))
    top = np.argsort(-values, axis=0, kind="stable")[:count].T
    bottom = np.argsort(values, axis=0, kind="stable")[:count].T
    return np.ascontiguousarray(top, np.int64), np.ascontiguousarray(bottom, np.int64)


@dataclass(frozen=True)
class ClassAnswers:
    """How n neurons answer to classes; NaN where a class has no samples.

    mean, std: (n, classes). quantiles: (n, classes, 5), at QUANTILES. preferred: (n,) the class with the largest mean.
    selectivity: (n,) in [0, 1].
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    preferred: Indices
    selectivity: NDArray[np.float64]


def class_answers(values: np.ndarray, labels: np.ndarray, classes: int) -> ClassAnswers:
    """Statistics of `values` (samples, n) by class.

    Selectivity is the class selectivity index (mu_max - mu_rest) / (mu_max + mu_rest) of Morcos et al. 2018, On the
    importance of single directions for generalization (arXiv:1803.06959): mu_max the mean of the class with the
    largest mean, mu_rest the mean of the other classes' means. It is defined for activations that are not negative, so
    values are rectified first, max(value, 0), here as in the network the paper looks at. 0 where no class excites the
    neuron, or there is one class.
    """
    n = values.shape[1]
    mean, std = np.full((n, classes), np.nan), np.full((n, classes), np.nan)
    quantiles, rectified = np.full((n, classes, len(QUANTILES)), np.nan), np.full((n, classes), np.nan)
    for label in range(classes):
        mine = values[labels == label].astype(np.float64)
        if len(mine):
            mean[:, label], std[:, label] = mine.mean(0), mine.std(0)
            quantiles[:, label] = np.quantile(mine, QUANTILES, axis=0).T
            rectified[:, label] = mine.clip(0).mean(0)
    present = np.flatnonzero(~np.isnan(mean[0])) if n else np.arange(0)
    preferred = present[mean[:, present].argmax(1)] if n else np.zeros(0, np.int64)
    selectivity = np.zeros(n)
    if len(present) > 1:
        best = rectified[:, present].max(1)
        rest = (rectified[:, present].sum(1) - best) / (len(present) - 1)
        np.divide(best - rest, best + rest, out=selectivity, where=best + rest > 0)
    return ClassAnswers(mean, std, quantiles, preferred.astype(np.int64), selectivity)


def correlations(first: np.ndarray, second: np.ndarray) -> NDArray[np.float64]:
    """(n,) correlation of the columns of two (samples, n) arrays; NaN where one does not vary."""
    a, b = (x.astype(np.float64) - x.mean(0, dtype=np.float64) for x in (first, second))
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    found = np.full(len(scale), np.nan)
    np.divide((a * b).sum(0), scale, out=found, where=scale > 1e-12)
    return found
