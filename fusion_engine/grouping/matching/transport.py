"""Optimal transport between the neurons of parents: plans from costs, and the maps that plans give."""

from typing import Annotated

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.errors import FusionError
from ...core.registry import Param
from ...core.types import Array, Grouping
from ...stats import SpaceStats
from ..parameters import Weights
from ..similarity import normalised
from .alignment import Against, align_maps, averaged, products

Marginals = Annotated[Weights, Param("how much mass each neuron has: all the same, or its importance")]
Normalise = Annotated[bool, Param("compare features scaled to length one, instead of as they are")]
Regularisation = Annotated[
    float,
    Param(
        "0: the exact plan; above: Sinkhorn's, with this much entropy in shares of the mean cost", ge=0.0, le=100.0,
        usual=(1e-3, 1.0),
    ),
]


def transport(
    stats: SpaceStats,
    method: str,
    marginals: Weights,
    normalise: bool,
    regularisation: float,
    against: Against,
    reference: int,
) -> Grouping:
    """Transport every parent's neurons onto the target's and average.

    With the plan T (n_p, n) from masses mu (n_p,) to nu (n,): merge w_p diag(1/nu) T^T, the barycentric map of Singh &
    Jaggi 2020, and unmerge diag(1/mu) T. Parents may differ in width; the fused model is as wide as the reference.
    """
    seen = normalised(stats) if normalise else stats
    if marginals == "importance":
        mass = np.concatenate([s / s.sum() for s in stats.importance])
    else:
        mass = np.concatenate([np.full(n, 1 / n) for n in stats.sizes])
    back: dict[int, Array] = {}

    def solve(target: Array, p: int) -> Array:
        mu, nu = mass[stats.part(p)], target @ mass
        nu = nu / nu.sum()
        plan = transport_plan(costs_to(seen, target, p), mu, nu, regularisation)
        back[p] = _shares(plan, plan.sum(1))
        return _shares(plan.T, plan.sum(0))

    maps = align_maps(stats, reference, against, solve)
    unmerge = [back.get(p, np.eye(stats.size)) for p in range(stats.parents)]
    return averaged(stats.space, method, maps, unmerge)


def costs_to(stats: SpaceStats, target: Array, p: int) -> Array:
    """(n_p, n) Euclidean distances of parent p's neurons to the target's, a combination (n, N) of all neurons."""
    cross = products(target, stats.gram)
    own = np.einsum("gi,gi->g", cross, target)
    squares = np.diag(stats.gram)[stats.part(p), None] + own[None, :] - 2 * cross[:, stats.part(p)].T
    out: Array = np.sqrt(np.maximum(squares, 0.0))
    return out


def transport_plan(costs: Array, mu: Array, nu: Array, regularisation: float = 0.0) -> Array:
    """(a, b) plan with row sums mu and column sums nu that moves mass at the least cost; Sinkhorn's above 0.

    Equal masses on both sides make an assignment problem, whose solution is the exact plan (Birkhoff). Raises
    FusionError if Sinkhorn's iteration does not converge to a plan.
    """
    if regularisation == 0 and len(mu) == len(nu) and np.allclose(mu, mu[0]) and np.allclose(nu, mu[0]):
        plan = np.zeros_like(costs)
        rows, columns = linear_sum_assignment(costs)
        plan[rows, columns] = mu[rows]
        return plan
    import ot

    mu, nu = mu / mu.sum(), nu / nu.sum()
    if regularisation == 0:
        return np.asarray(ot.emd(mu, nu, np.ascontiguousarray(costs), numItermax=10_000_000))
    mean = float(costs.mean())
    entropy = regularisation * (mean if mean > 0 else 1.0)
    plan = np.asarray(ot.sinkhorn(mu, nu, costs, entropy, method="sinkhorn_log", numItermax=5000, warn=False))
    if not np.isfinite(plan).all() or (plan.sum(0) <= 0).any() or (plan.sum(1) <= 0).any():
        raise FusionError("grouping.regularisation is too small for Sinkhorn's iteration; raise it, or 0 for exact")
    return plan


def _shares(plan: Array, mass: Array) -> Array:
    return plan / mass[:, None]
