"""How training data is shared between parents."""

from typing import Literal, get_args

import numpy as np

from ..core.errors import DataError
from ..core.registry import nearest
from ..core.seeds import numpy_generator
from .dataset import Dataset

Regime = Literal["full", "non_iid", "sharded"]
REGIMES: tuple[str, ...] = get_args(Regime)


def partition(data: Dataset, parents: int, regime: str = "non_iid", seed: int = 0) -> list[np.ndarray]:
    """Sorted index arrays (int64), one a parent.

    full: every parent sees all data. non_iid: per class a Dirichlet draw over the parents with alphas evenly spaced
    from 1 to 5, shuffled per class, so that each parent is strong in some classes and weak in others; together the
    shares are the data, without overlap. sharded: whole classes are dealt out, without overlap.
    Raises DataError for an unknown regime, data without labels, or more shards than classes.
    """
    if regime not in REGIMES:
        raise DataError(f"unknown regime {regime!r}{nearest(regime, REGIMES)}")
    if regime == "full":
        return [np.arange(len(data), dtype=np.int64) for _ in range(parents)]
    present = np.flatnonzero(data.counts)
    if regime == "sharded" and parents > len(present):
        raise DataError(f"{data.name}: {len(present)} classes cannot be split between {parents} parents")
    generator = numpy_generator(seed, "partition", regime)
    assert data.y is not None  # data.counts raised otherwise
    y = data.y.numpy()
    shares: list[list[np.ndarray]] = [[] for _ in range(parents)]
    if regime == "sharded":
        for position, label in enumerate(generator.permutation(present)):
            shares[position % parents].append(np.flatnonzero(y == label))
    else:
        alphas = np.linspace(1, 5, parents)
        for label in present:
            members = generator.permutation(np.flatnonzero(y == label))
            fractions = generator.dirichlet(generator.permutation(alphas))
            cuts = np.rint(np.cumsum(fractions)[:-1] * len(members)).astype(int)
            for share, part in zip(shares, np.split(members, cuts), strict=True):
                share.append(part)
    return [np.sort(np.concatenate(share)).astype(np.int64) for share in shares]
