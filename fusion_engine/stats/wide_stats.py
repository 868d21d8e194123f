"""What a grouping sees of a wide space: its neurons as points, and their Gram only where it fits in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from scipy import sparse

from ..core.errors import FusionError
from ..core.matrices import LabelMatrices
from ..core.types import Array, Grouping
from .parent_moments import Moments
from .points import FORMED, Points
from .space_stats import SpaceStats


def _whole(stats: WideStats) -> Array:
    return stats.formed


@dataclass(frozen=True, kw_only=True)
class WideStats(SpaceStats):
    """`SpaceStats` of a space with more than `points.WIDE` joint neurons.

    points   whose inner products are the second moments; methods that work on them need no (N, N) matrix
    gram     formed where a method asks for it and N is at most `points.FORMED`; FusionError otherwise
    held     is not known as a matrix; `split` tells the samples apart
    """

    points: Points
    # A property and no value: it is made when it is read, and is not among what `replace` copies.
    gram: Array = field(init=False, repr=False, compare=False, default=cast(Array, property(_whole)))

    def __post_init__(self) -> None:
        total = sum(self.sizes)
        found = [len(self.points.at), self.means.shape, tuple(len(s) for s in self.importance)]
        if found != [total, (total,), self.sizes]:
            raise ValueError(f"points of space {self.space!r} do not fit sizes {self.sizes}: {found}")

    @cached_property
    def formed(self) -> Array:
        """(N, N) Gram of the points."""
        if len(self.points.at) > FORMED:
            raise FusionError(
                f"space {self.space!r}: the {len(self.points.at)} neurons of all parents are too many for this "
                f"grouping, which compares every pair of them (at most {FORMED}); use kmeans, hungarian, permutation, "
                "balanced, partial_permutation or weight_matching"
            )
        points = self.points.at.astype(np.float64)
        out: Array = points @ points.T
        return out

    def dense(self) -> SpaceStats:
        """As that of `SpaceStats`."""
        names = [f.name for f in fields(SpaceStats) if f.name not in ("gram", "held")]
        border = self.points.at.shape[1] - self.points.held
        held = self.points.at[:, border:].astype(np.float64)
        gram = self.formed
        known = held @ held.T if self.judged else None
        return SpaceStats(**{name: getattr(self, name) for name in names}, gram=gram, held=known)

    @cached_property
    def squares(self) -> Array:
        """(N,) diagonal of the Gram."""
        out: Array = np.einsum("ir,ir->i", self.points.at, self.points.at, dtype=np.float64)
        return out

    @property
    def judged(self) -> bool:
        """Whether the moments of held-out samples are known apart."""
        return bool(self.points.held)

    @property
    def finite(self) -> bool:
        """Whether all moments are finite numbers."""
        return bool(np.isfinite(self.squares).all())

    def split(self) -> tuple[SpaceStats, SpaceStats]:
        """As that of `SpaceStats`."""
        if not self.judged or self.held_means is None:
            raise ValueError(f"space {self.space!r}: the moments of held-out samples are not known apart")
        count, border = self.count - self.held_count, self.points.at.shape[1] - self.points.held
        means = (self.means * self.count - self.held_means * self.held_count) / max(count, 1)
        parts = [
            Points(self.points.at[:, part], self.points.unit[part]) for part in (slice(0, border), slice(border, None))
        ]
        apart = replace(self, held_means=None, held_count=0)
        seen = replace(apart, points=parts[0], means=means, count=count)
        return seen, replace(apart, points=parts[1], means=self.held_means, count=self.held_count)

    def block(self, p: int, q: int, matrix: Array | None = None) -> Array:
        """(n_p, n_q) products between parents p and q."""
        if matrix is not None:
            return super().block(p, q, matrix)
        first, second = (self.points.at[self.part(x)].astype(np.float64) for x in (p, q))
        out: Array = first @ second.T
        return out

    def centred(self) -> Array:
        """(N, r) float64 points of the features without their means, whose Gram is `count` times the covariance."""
        out: Array = self.points.at - np.outer(self.means, self.points.unit)
        return out

    def lost(self, grouping: Grouping, *, centred: bool = False) -> Array:
        """(N,) squared length of f - U M f, what each neuron loses when it is merged and unmerged; centred: of the
        features without their means."""
        at = self.centred() if centred else self.points.at
        parts = [self.part(p) for p in range(self.parents)]
        merge, unmerge = ([_as_sparse(m, p) for p in range(self.parents)] for m in (grouping.merge, grouping.unmerge))
        fused = sum((m @ at[part] for m, part in zip(merge, parts, strict=True)), np.zeros(()))
        rest = (at[part] - u @ fused for u, part in zip(unmerge, parts, strict=True))
        return np.concatenate([np.einsum("ir,ir->i", r, r, dtype=np.float64) for r in rest])


def _as_sparse(matrices: Any, p: int) -> Any:
    if not isinstance(matrices, LabelMatrices):
        return matrices[p]
    rows, columns, values = matrices.entries(p)
    return sparse.csr_array((values, (rows, columns)), shape=matrices.shape(p))


def space_stats(moments: Moments, **common: Any) -> SpaceStats:
    """What a grouping sees of a space with these moments. common: the other fields of `SpaceStats`."""
    known: dict[str, Any] = {"means": moments.mean, "count": moments.count, "held_count": moments.held_count}
    known |= {"held_means": moments.held_mean, **common}
    if moments.points is None or moments.unit is None:
        return SpaceStats(**known, gram=moments.gram, held=moments.held)
    return WideStats(**known, points=Points(moments.points, moments.unit, moments.held_points, moments.error))
