"""What a grouping sees of one space: the joint second moments of all parents' features. NumPy, float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..core.types import Array, Freedom


@dataclass(frozen=True)
class SpaceStats:
    """Joint moments of the features [F_1 ... F_k] of k parents in one space; N = sum of `sizes`.

    space       name of the space
    sizes       neurons n_p of each parent
    gram        (N, N) raw second moment, the sum over rows of f f^T (not divided by `count`)
    means       (N,) mean features
    count       rows behind the moments: samples x positions
    importance  per parent (n_p,), > 0
    size        neurons n of the fused space
    seed        seed of everything random in the grouping of this space
    projected   (N, N) gram of P f, P the projection onto the span of the layer's inputs X:
                C^T (X^T X)^-1 C with C = X^T F; None where it was not computed
    held        (N, N) the part of `gram` that is of held-out samples, to judge a grouping by; None where not asked for
    held_means  (N,) their mean features    held_count  rows of theirs
    freedom     transforms that keep the model's function: 'perm', 'orth' or 'gl'
    """

    space: str
    sizes: tuple[int, ...]
    gram: Array
    means: Array
    count: int
    importance: tuple[Array, ...]
    size: int
    seed: int = 0
    projected: Array | None = None
    freedom: Freedom = "perm"
    held: Array | None = None
    held_means: Array | None = None
    held_count: int = 0

    def __post_init__(self) -> None:
        total = sum(self.sizes)
        shapes = [self.gram.shape, self.means.shape, tuple(len(s) for s in self.importance)]
        if shapes != [(total, total), (total,), self.sizes]:
            raise ValueError(f"moments of space {self.space!r} do not fit sizes {self.sizes}: {shapes}")

    def split(self) -> tuple[SpaceStats, SpaceStats]:
        """The moments of the samples that are not held out, and those of the held-out ones. ValueError without them."""
        if self.held is None or self.held_means is None:
            raise ValueError(f"space {self.space!r}: the moments of held-out samples are not known apart")
        count = self.count - self.held_count
        means = (self.means * self.count - self.held_means * self.held_count) / max(count, 1)
        apart = replace(self, held=None, held_means=None, held_count=0, projected=None)
        seen = replace(apart, gram=self.gram - self.held, means=means, count=count)
        return seen, replace(apart, gram=self.held, means=self.held_means, count=self.held_count)

    @property
    def parents(self) -> int:
        """Number of parents k."""
        return len(self.sizes)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each parent's neurons start among the N, and N at the end: k + 1 numbers."""
        return (0, *(int(c) for c in np.cumsum(self.sizes)))

    def part(self, p: int) -> slice:
        """Parent p's neurons among the N."""
        return slice(self.offsets[p], self.offsets[p + 1])

    def block(self, p: int, q: int, matrix: Array | None = None) -> Array:
        """(n_p, n_q) view of `matrix` (default: the gram) between parents p and q."""
        return (self.gram if matrix is None else matrix)[self.part(p), self.part(q)]

    @property
    def squares(self) -> Array:
        """(N,) diagonal of the gram."""
        return np.diag(self.gram)

    def dense(self) -> SpaceStats:
        """The same with all moments as matrices. FusionError where a wide space's do not fit in memory."""
        return self

    @property
    def judged(self) -> bool:
        """Whether the moments of held-out samples are known apart."""
        return self.held is not None

    @property
    def finite(self) -> bool:
        """Whether all moments are finite numbers."""
        return bool(np.isfinite(self.gram).all())

    @cached_property
    def weights(self) -> Array:
        """(N,) importance of all neurons, parents joined."""
        return np.concatenate(self.importance)

    @cached_property
    def covariance(self) -> Array:
        """(N, N) covariance with divisor `count`."""
        return self.gram / max(self.count, 1) - np.outer(self.means, self.means)

    def distances(self, gram: Array | None = None) -> Array:
        """(N, N) squared distances ||f_i - f_j||^2 = G_ii + G_jj - 2 G_ij, exactly 0 on the diagonal."""
        g = self.gram if gram is None else gram
        d = np.diag(g)
        out: Array = np.maximum(d[:, None] + d[None, :] - 2 * g, 0.0)
        np.fill_diagonal(out, 0.0)
        return out

    def correlation(self) -> Array:
        """(N, N) Pearson correlation in [-1, 1]; 0 against neurons that never vary."""
        covariance = self.covariance
        variance = np.diag(covariance)
        # A variance below the rounding error of the raw moment is no variance.
        alive = variance > 1e-12 * np.maximum(np.diag(self.gram) / max(self.count, 1), 1e-300)
        inverse = np.where(alive, 1.0 / np.sqrt(np.where(alive, variance, 1.0)), 0.0)
        out: Array = np.clip(covariance * np.outer(inverse, inverse), -1.0, 1.0)
        np.fill_diagonal(out, alive.astype(float))
        return out

    def coordinates(self, gram: Array | None = None) -> Array:
        """(N, r) points whose Gram is `gram`: an eigen square root, directions with no weight left out.

        Euclidean geometry between neurons is kept exactly while the number of rows is gone.
        """
        g = self.gram if gram is None else gram
        values, vectors = np.linalg.eigh(g)
        keep = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
        out: Array = vectors[:, keep] * np.sqrt(values[keep])
        return out
