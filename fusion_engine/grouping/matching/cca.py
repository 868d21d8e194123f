"""CCA merging: align the parents by the directions in which their features correlate most, not neuron by neuron."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.registry import Param, register
from ...core.types import Array, Grouping, Indices
from ...stats import SpaceStats
from ..from_labels import require_equal_widths
from ..parameters import FeaturesParameter
from ..similarity import correlations
from .alignment import Against, AgainstParameter, ReferenceParameter, align_maps, averaged, products

Spectrum = tuple[Array, Array]

_GAMMAS = (1e-2, 1e-1, 1.0, 10.0)
_MATCHED = 1e-3
_STABLE = 0.02  # general maps approach their limit without reaching it


@register(
    "grouping",
    "cca",
    title="CCA merge",
    citation="Horoi et al. 2024, harmony in diversity: merging neural networks with canonical correlation analysis",
    needs={"moments"},
    linear=True,
    equivariant=True,
    widths="equal",
)
def cca(
    stats: SpaceStats,
    *,
    gamma: Annotated[
        float | Literal["auto"],
        Param("added to the covariances' diagonal, in shares of the mean variance; auto: by held-out correlation",
              ge=1e-9, le=1e3),
    ] = 0.1,
    features: FeaturesParameter = "post",
    against: AgainstParameter = "reference",
    reference: ReferenceParameter = 1,
) -> Grouping:  # fmt: skip
    """Aligns each parent by an invertible linear map that carries its canonical directions onto the reference's.

    With S + gamma I for the covariances, S_xx^-1/2 S_xy S_yy^-1/2 = U S V^T; for row vectors y S_yy^-1/2 V U^T S_xx^1/2
    is aligned with x, and x S_xx^-1/2 U V^T S_yy^1/2 leads back (Horoi et al. 2024, section 4). Fused features are the
    mean of the aligned ones. The nonlinearities between merge and unmerge make this an approximation except where the
    maps are permutations. Directions in which a parent hardly varies follow the best matching of single neurons.

    stats: any number of parents of equal width (FusionError otherwise). gamma 'auto' takes the value whose aligned
    features correlate most on the held-out samples (info['chosen']); without held-out moments it means 0.1.
    """
    require_equal_widths(stats.space, "cca", stats.sizes, stats.size)
    stats = stats.dense()
    if gamma != "auto":
        return _cca(stats, float(gamma), against, reference)
    if stats.held is None:
        return _cca(stats, 0.1, against, reference)
    seen, held = stats.split()
    spectra: dict[int, Spectrum] = {}
    found = {g: _agreement(held, _cca(seen, g, against, reference, spectra)) for g in _GAMMAS}
    best = max(found, key=lambda g: found[g])
    chosen: dict[str, Any] = {"gamma": best, "held_out_correlation": found[best]}
    made = _cca(stats, best, against, reference)
    return replace(made, info={"chosen": chosen})


def _cca(
    stats: SpaceStats, gamma: float, against: Against, reference: int, spectra: dict[int, Spectrum] | None = None
) -> Grouping:
    """spectra: of the parents' covariances, kept for the next gamma."""
    known: dict[int, Spectrum] = {} if spectra is None else spectra
    covariance = stats.covariance
    matches = correlations(stats)
    spread = float(np.trace(stats.block(reference - 1, reference - 1, covariance)))
    back: dict[int, Array] = {}

    def spectrum(p: int) -> Spectrum:
        if p not in known:
            known[p] = _spectrum(stats.block(p, p, covariance))
        return known[p]

    def solve(target: Array, p: int) -> Array:
        mine = stats.part(p)
        cross = products(target, covariance)
        own = cross @ target.T
        # A mean of features varies less than they do: the target keeps the reference's overall spread.
        scale = float(np.sqrt(spread / max(float(np.trace(own)), np.finfo(np.float64).tiny)))
        plain = np.array_equal(target[:, stats.part(reference - 1)], np.eye(stats.size))
        theirs = spectrum(reference - 1) if plain else _spectrum(own * scale**2)
        order = linear_sum_assignment(products(target, matches[:, mine]), maximize=True)[1]
        there, back[p] = canonical_map(theirs, cross[:, mine] * scale, spectrum(p), gamma, order)
        return there

    maps = align_maps(stats, reference, against, solve, _STABLE)
    return averaged(stats.space, "cca", maps, [back.get(p, np.eye(stats.size)) for p in range(stats.parents)])


def canonical_map(xx: Spectrum, xy: Array, yy: Spectrum, gamma: float, order: Indices) -> tuple[Array, Array]:
    """(n, n) map R with R y aligned to x, features as columns, and its inverse.

    xx, yy: eigenvalues (n,) and eigenvectors (n, n) of the covariances; xy: covariances (n, n). gamma: in shares of the
    mean variance of x and of y. order: y's neuron order[i] is matched with x's neuron i; it decides in directions that
    have no canonical correlation to speak of, where the decomposition is not unique.
    """
    x, x_inverse = _roots(xx, gamma)
    y, y_inverse = _roots(yy, gamma)
    matched = np.zeros_like(xy)
    matched[np.arange(len(order)), order] = _MATCHED
    u, _, v = np.linalg.svd(x_inverse @ xy @ y_inverse + matched)
    turn = u @ v  # the orthogonal matrix next to it: U V^T
    return x @ turn @ y_inverse, y @ turn.T @ x_inverse


def _spectrum(covariance: Array) -> Spectrum:
    values, vectors = np.linalg.eigh(covariance)
    return values, vectors


def _roots(spectrum: Spectrum, gamma: float) -> tuple[Array, Array]:
    """(S + gamma I)^(1/2) and its inverse."""
    values, vectors = spectrum
    mean = float(np.maximum(values, 0.0).mean())
    values = np.maximum(values, 0.0) + gamma * (mean if mean > 0 else 1.0)
    root = np.sqrt(values)
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _agreement(stats: SpaceStats, grouping: Grouping) -> float:
    """Mean correlation of the parents' aligned features, neuron by neuron, over all pairs of parents."""
    covariance, k = stats.covariance, stats.parents
    maps = [m * k for m in grouping.merge]
    own = [np.einsum("ij,ij->i", r @ stats.block(p, p, covariance), r) for p, r in enumerate(maps)]
    found = []
    for p in range(k):
        for q in range(p):
            shared = np.einsum("ij,ij->i", maps[p] @ stats.block(p, q, covariance), maps[q])
            size = np.sqrt(np.maximum(own[p] * own[q], 0.0))
            found.append(np.where(size > 0, shared / np.where(size > 0, size, 1.0), 0.0).mean())
    return float(np.mean(found))
