"""Principal coordinates of neurons, exact from their Gram matrix: no activation is needed."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ..core.types import Array


@dataclass(frozen=True)
class PrincipalCoordinates:
    """coordinates: (N, c) float64, columns by falling variance. variance: (c,) share of the total variance."""

    coordinates: Array
    variance: Array


def principal_coordinates(gram: Array, components: int = 64) -> PrincipalCoordinates:
    """Principal coordinates of N points from their (N, N) Gram matrix.

    The doubly centred Gram B = J G J, J = I - 11^T/N, has the points' principal components as its eigenvectors
    times the roots of its eigenvalues (Gower 1966, classical scaling): the same as PCA of the points about
    their mean. At most `components` columns, and only those with variance above rounding; signs are fixed so
    that the largest entry of each column is positive. Raises ValueError if the Gram has non-finite entries.
    """
    total = len(gram)
    if not np.isfinite(gram).all():
        raise ValueError("the Gram matrix has non-finite entries")
    wanted = min(components, total - 1)
    if wanted < 1:
        return PrincipalCoordinates(np.zeros((total, 0)), np.zeros(0))
    means = gram.mean(0)
    centred = gram - means[:, None] - means[None, :] + means.mean()
    values, vectors = eigh((centred + centred.T) / 2, subset_by_index=[total - wanted, total - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    rounding = total * np.finfo(np.float64).eps * max(float(np.abs(np.diag(gram)).max(initial=0.0)), 1e-300)
    keep = values > rounding
    values, vectors = values[keep], vectors[:, keep]
    if not len(values):
        return PrincipalCoordinates(np.zeros((total, 0)), np.zeros(0))
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(values))])
    spread = max(float(np.trace(centred)), float(values.sum()))
    return PrincipalCoordinates(vectors * np.sqrt(values), values / spread)


def principal_coordinates_of(points: Array, count: int, components: int = 64) -> PrincipalCoordinates:
    """The same of N points (N, r), of any float type, whose products are `count` times their Gram."""
    centred = (points - points.mean(0, dtype=np.float64)) / np.sqrt(count)
    if not np.isfinite(centred).all():
        raise ValueError("the points have non-finite entries")
    inner = centred.T @ centred
    values, vectors = (part[..., ::-1] for part in np.linalg.eigh(inner))
    total, largest_square = float(np.trace(inner)), float(np.square(points, dtype=np.float64).sum(1).max(initial=0.0))
    rounding = len(points) * np.finfo(np.float64).eps * max(largest_square / count, 1e-300)
    wanted = min(components, len(points) - 1, int((values > rounding).sum()))
    coordinates = centred @ vectors[:, :wanted]
    largest = np.abs(coordinates).argmax(0) if wanted else np.zeros(0, dtype=np.int64)
    coordinates *= np.sign(coordinates[largest, np.arange(wanted)])
    return PrincipalCoordinates(coordinates, values[:wanted] / total if wanted else np.zeros(0))
