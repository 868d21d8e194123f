"""Importance-weighted k-means of points with coordinates: the same steps as on their Gram, which is never formed.

Distances come from products in float32 of centred points, so they are right to about 1e-6 of the points' spread.
Nothing else is approximate: of the starts and Lloyd's iterations only what cannot have changed is left out.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from ...core.types import Array, Indices
from .filling import fill_empty, free_points

_POOL = 1024  # points among which the next centres are looked for
_CHUNK = 2**23  # distances that are known at once


def best_of_point_starts(
    points: np.ndarray,
    weights: Array,
    groups: int,
    tries: int,
    random: np.random.Generator,
    start: str = "farthest_first",
    iterations: int = 100,
) -> tuple[float, Indices]:
    """`best_of_starts` for points (N, r)."""
    at = centred(points, weights)

    def once() -> tuple[float, Indices]:
        return lloyd(at, weights, at[first_centres(at, points, weights, groups, start, random)], iterations)

    return cheapest(once, tries, start)


def cheapest(once: Callable[[], tuple[float, Indices]], tries: int, start: str) -> tuple[float, Indices]:
    """The smallest cost of what `once` gives `tries` times, the first of equals; where no chance is in the start, one
    time is enough."""
    return min((once() for _ in range(1 if start == "heaviest_first" else tries)), key=lambda found: found[0])


def centred(points: np.ndarray, weights: Array) -> np.ndarray:
    """The points about their weighted mean, float32: distances are the same, and lose fewer digits."""
    mean = weights @ points / weights.sum()
    out: np.ndarray = (points - mean.astype(np.float32)).astype(np.float32, copy=False)
    return out


def lloyd(points: np.ndarray, weights: Array, centres: np.ndarray, iterations: int) -> tuple[float, Indices]:
    """Lloyd's algorithm from `centres` (n, r): the weighted cost and labels (N,).

    A group whose members stay keeps its centre. So a point of such a group is compared with the moved centres alone,
    against the distance it had; points of moved groups with all.
    """
    groups = len(centres)
    own = np.einsum("ir,ir->i", points, points, dtype=np.float64)
    labels = np.full(len(points), -1, dtype=np.int64)
    nearest = np.full(len(points), np.inf, dtype=np.float32)  # distance to the own centre, less the point's own square
    moved = np.ones(groups, dtype=bool)
    for _ in range(iterations):
        new = labels.copy()
        everywhere = np.ones(len(points), dtype=bool) if labels[0] < 0 else moved[labels]
        _assign(points, np.flatnonzero(everywhere), centres, np.arange(groups), new, nearest, afresh=True)
        _assign(points, np.flatnonzero(~everywhere), centres, np.flatnonzero(moved), new, nearest, afresh=False)
        fill_empty(new, np.maximum(nearest + own, 0.0) * weights, groups)
        changed = new != labels
        if not changed.any():
            break
        touched = np.concatenate([new[changed], labels[changed]])
        labels, moved = new, np.zeros(groups, dtype=bool)
        moved[touched[touched >= 0]] = True
        centres = centres.copy()
        centres[moved] = means(points, weights, labels, groups)[moved]
    return spread(points, weights, labels, groups), labels


def _assign(
    points: np.ndarray,
    which: Indices,
    centres: np.ndarray,
    among: Indices,
    labels: Indices,
    nearest: np.ndarray,
    *,
    afresh: bool,
) -> None:
    """Put the points `which`, in place, to the nearest of the centres `among`; unless `afresh`, only where that is
    nearer than the one they have. Of equally near ones the first counts."""
    if not len(which) or not len(among):
        return
    chosen = centres[among]
    squares = np.einsum("gr,gr->g", chosen, chosen, dtype=np.float64).astype(np.float32)
    turned = np.ascontiguousarray(chosen.T) * np.float32(-2)
    step = max(1, _CHUNK // len(among))
    for first in range(0, len(which), step):
        rows = which[first : first + step]
        distances = points[rows] @ turned
        distances += squares
        best = distances.argmin(1)
        found, group = distances[np.arange(len(rows)), best], among[best]
        better = np.ones(len(rows), dtype=bool)
        if not afresh:
            better = (found < nearest[rows]) | ((found == nearest[rows]) & (group < labels[rows]))
        nearest[rows[better]], labels[rows[better]] = found[better], group[better]


def means(points: np.ndarray, weights: Array, labels: Indices, groups: int) -> np.ndarray:
    """(n, r) float32 weighted means of the groups."""
    share = weights / np.bincount(labels, weights, groups)[labels]
    matrix = sparse.csr_array((share, (labels, np.arange(len(labels)))), shape=(groups, len(labels)))
    out: np.ndarray = np.empty((groups, points.shape[1]), dtype=np.float32)
    step = max(1, _CHUNK // len(points))  # a product of float64 with float32 copies the points
    for first in range(0, points.shape[1], step):
        out[:, first : first + step] = matrix @ points[:, first : first + step].astype(np.float64)
    return out


def spread(points: np.ndarray, weights: Array, labels: Indices, groups: int) -> float:
    """Weighted squared distance of all points to the weighted means of their groups."""
    centres, total = means(points, weights, labels, groups), 0.0
    step = max(1, _CHUNK // points.shape[1])
    for first in range(0, len(points), step):
        rest = points[first : first + step] - centres[labels[first : first + step]]
        total += float(weights[first : first + step] @ np.einsum("ir,ir->i", rest, rest, dtype=np.float64))
    return total


def first_centres(
    at: np.ndarray, points: np.ndarray, weights: Array, groups: int, rule: str, random: np.random.Generator
) -> Indices:
    """Indices of the first centres, as those of `kmeans` are drawn. at: the points about their mean."""
    if rule == "heaviest_first":
        squares = np.einsum("ir,ir->i", points, points, dtype=np.float64)
        first = int(np.lexsort((squares, weights))[-1])
    else:
        first = int(random.choice(len(at), p=weights / weights.sum()))
    own = np.einsum("ir,ir->i", at, at, dtype=np.float64)
    if rule == "kmeans++":
        return _drawn(at, own, weights, groups, first, random)
    return _farthest(at, own, weights, groups, first)


def _drawn(
    at: np.ndarray, own: Array, weights: Array, groups: int, first: int, random: np.random.Generator
) -> Indices:
    chosen, nearest = [first], np.full(len(at), np.inf)
    while len(chosen) < groups:
        last = chosen[-1]
        nearest = np.minimum(nearest, np.maximum(own + own[last] - 2 * (at @ at[last]), 0.0))
        nearest[chosen] = 0.0
        score = nearest * weights
        if not score.any():
            chosen += free_points(len(at), chosen)[: groups - len(chosen)]
            break
        chosen.append(int(random.choice(len(at), p=score / score.sum())))
    return np.array(chosen, dtype=np.int64)


def _farthest(at: np.ndarray, own: Array, weights: Array, groups: int, first: int) -> Indices:
    """Each centre is the point with the largest weighted squared distance to those before it.

    Distances only shrink, so one that was measured against fewer centres is a bound: the best is looked for in a pool
    of the points with the largest bounds, whose distances are kept up to date, as long as none outside can be larger.
    """
    chosen = [first]
    nearest = np.maximum(own + own[first] - 2 * (at @ at[first]).astype(np.float64), 0.0)
    nearest[first] = 0.0
    seen = np.ones(len(at), dtype=np.int64)  # the centres that a point's distance was measured against
    while len(chosen) < groups:
        bounds = nearest * weights
        pool = np.sort(np.argpartition(-bounds, min(_POOL, len(at)) - 1)[:_POOL])
        outside = np.ones(len(at), dtype=bool)
        outside[pool] = False
        bar = float(bounds[outside].max(initial=0.0))
        here, squares, heavy, distances = at[pool], own[pool], weights[pool], nearest[pool]
        for number in np.unique(seen[pool]):
            behind = np.flatnonzero(seen[pool] == number)
            missed = np.array(chosen[number:], dtype=np.int64)
            if len(missed):
                between = squares[behind][:, None] + own[missed] - 2 * (here[behind] @ at[missed].T)
                distances[behind] = np.minimum(distances[behind], np.maximum(between.min(1), 0.0))
        distances[np.isin(pool, chosen)] = 0.0
        while len(chosen) < groups:
            score = distances * heavy
            best = int(score.argmax())
            if score[best] < bar:
                break
            if score[best] <= 0.0:
                chosen += free_points(len(at), chosen)[: groups - len(chosen)]
                break
            new = int(pool[best])
            chosen.append(new)
            distances = np.minimum(distances, np.maximum(squares + own[new] - 2 * (here @ at[new]), 0.0))
            distances[best] = 0.0
        nearest[pool], seen[pool] = distances, len(chosen)
    return np.array(chosen, dtype=np.int64)
