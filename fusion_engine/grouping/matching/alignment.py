"""What the parents are aligned to: a chosen parent, each other, or their barycentre. One order of steps for all
methods, and the joint moments of any such target with the parents' features."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...core.errors import FusionError
from ...core.registry import Param
from ...core.types import Array, Grouping, Indices
from ...stats import SpaceStats
from ..from_labels import hard_grouping

Against = Literal["reference", "all_pairs", "barycentre"]
AgainstParameter = Annotated[
    Against,
    Param("what parents are aligned to: one parent; by turns the mean of all others; the mean of all, until stable"),
]
ReferenceParameter = Annotated[
    int, Param("number of the parent whose order of neurons is kept, from 1", ge=1, le=8, label="Reference parent")
]

_ROUNDS = 30


def align(parents: int, reference: int, against: Against, step: Callable[[int, tuple[int, ...]], bool]) -> None:
    """Align parent after parent.

    step(p, others) aligns parent p to the mean of the parents `others` as they are aligned by now, and says whether
    that changed anything. The parents are first aligned to the reference one by one; 'all_pairs' then goes on with
    each against the mean of the others, the reference excepted (Ainsworth et al. 2023, algorithm 3), 'barycentre'
    with each against the mean of all, until nothing changes.
    """
    first = reference - 1
    for p in range(parents):
        if p != first:
            step(p, (first,))
    if against == "reference" or (against == "all_pairs" and parents == 2):
        return
    everyone = tuple(range(parents))
    for _ in range(_ROUNDS):
        changed = False
        for p in everyone:
            if against == "barycentre":
                changed |= step(p, everyone)
            elif p != first:
                changed |= step(p, tuple(q for q in everyone if q != p))
        if not changed:
            return


def align_maps(
    stats: SpaceStats, reference: int, against: Against, solve: Callable[[Array, int], Array], tolerance: float = 1e-6
) -> list[Array]:
    """Per parent the (n, n_p) map R_p that aligns its features: aligned features are R_p f_p.

    solve(target, p) returns parent p's map to a target given as a linear combination of all parents' features, (n, N);
    with the joint Gram G of the features, products(target, G) holds its products with them. The reference's own map
    starts as the identity. A map is stable once it changes by less than `tolerance` of its norm. Raises FusionError
    unless the reference is one of the parents and has n neurons.
    """
    check_reference(stats.space, stats.sizes, stats.size, reference)
    maps = {reference - 1: np.eye(stats.size)}

    def step(p: int, others: tuple[int, ...]) -> bool:
        target = np.zeros((stats.size, len(stats.gram)))
        for q in others:
            target[:, stats.part(q)] = maps[q] / len(others)
        old, maps[p] = maps.get(p), solve(target, p)
        return old is None or bool(np.linalg.norm(maps[p] - old) > tolerance * np.linalg.norm(maps[p]))

    align(stats.parents, reference, against, step)
    return [maps[p] for p in range(stats.parents)]


def align_orders(
    stats: SpaceStats, points: Array, reference: int, against: Against, standard: bool
) -> list[Indices]:
    """Per parent the order of its neurons that brings them to the reference's: neuron order[i] comes in place i.

    The same matching as by `align_maps` with permutations, on points (N, m) whose products are what two neurons gain
    by being matched. standard: targets, means of several parents' points, are brought to length one. Raises as
    `align_maps` does.
    """
    check_reference(stats.space, stats.sizes, stats.size, reference)
    orders = {reference - 1: np.arange(stats.size)}

    def step(p: int, others: tuple[int, ...]) -> bool:
        target = sum((points[stats.part(q)][orders[q]] / len(others) for q in others), np.zeros(()))
        if standard:
            squares = np.einsum("gm,gm->g", target, target)
            target = target / np.sqrt(np.maximum(squares, 1e-12))[:, None]
        found = linear_sum_assignment(target @ points[stats.part(p)].T, maximize=True)[1]
        old, orders[p] = orders.get(p), found
        return old is None or bool((old != found).any())

    align(stats.parents, reference, against, step)
    return [orders[p] for p in range(stats.parents)]


def merged_orders(stats: SpaceStats, method: str, orders: Sequence[Indices], importance: bool) -> Grouping:
    """`averaged` of parents whose neurons are put in these orders."""
    labels = np.concatenate([np.argsort(order) for order in orders])
    shares = stats.weights if importance else np.ones(len(labels))
    return hard_grouping(stats.space, method, labels, stats.sizes, stats.size, shares)


def products(target: Array, gram: Array) -> Array:
    """(n, N) target @ gram. Parents that the target (n, N) does not hold cost nothing."""
    held = np.flatnonzero(target.any(0))
    out: Array = target[:, held] @ gram[held]
    return out


def check_reference(space: str, sizes: Sequence[int], size: int, reference: int) -> None:
    """FusionError unless the parent of this number exists and is as wide as the fused model."""
    if reference > len(sizes):
        raise FusionError(f"grouping.reference: there is no parent {reference}; there are {len(sizes)}")
    if sizes[reference - 1] != size:
        raise FusionError(
            f"space {space!r}: the fused model has {size} neurons and reference parent {reference} has "
            f"{sizes[reference - 1]}; give the reference parent first, and keep width 1"
        )


def reorder(assigned: Indices) -> Array:
    """(n, n) map that puts neuron assigned[i] in place i."""
    out = np.zeros((len(assigned), len(assigned)))
    out[np.arange(len(assigned)), assigned] = 1.0
    return out


def averaged(
    space: str, method: str, maps: Sequence[Array], back: Sequence[Array], importance: Sequence[Array] | None = None
) -> Grouping:
    """The mean of the aligned parents: merge[p] = w_p R_p, unmerge[p] = B_p. maps: R_p (n, n_p); back: B_p (n_p, n).

    importance: per parent (n_p,); every fused neuron then takes the parents in proportion to the importance of what
    they give it. None: w_p = 1/k. Where every map puts whole neurons in place, the grouping has labels.
    """
    k, n = len(maps), len(maps[0])
    if importance is None:
        weights = np.full((k, n), 1 / k)
    else:
        given = np.stack([np.abs(r) @ s for r, s in zip(maps, importance, strict=True)])
        weights = given / given.sum(0)
    merge = tuple(w[:, None] * r for w, r in zip(weights, maps, strict=True))
    hard = all(r.shape[0] == r.shape[1] and (np.isin(r, (0.0, 1.0))).all() for r in maps)
    labels = tuple(r.argmax(0).astype(np.int64) for r in maps) if hard else None
    return Grouping(space, method, merge, tuple(back), labels)
