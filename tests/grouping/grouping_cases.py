"""Moments of made-up parents, and the groupings to try on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fusion_engine.core import registry
from fusion_engine.stats import SpaceStats

GROUPINGS = [name for name in registry.names("grouping") if registry.get("grouping", name).scope != "network"]
LINEAR = {name for name in GROUPINGS if registry.get("grouping", name).linear}


def stats_of(features: list[np.ndarray], importance: list[np.ndarray], size: int | None = None, **more) -> SpaceStats:
    joint = np.concatenate(features, 1)
    return SpaceStats(
        space="s",
        sizes=tuple(f.shape[1] for f in features),
        gram=joint.T @ joint,
        means=joint.mean(0),
        count=len(joint),
        importance=tuple(importance),
        size=features[0].shape[1] if size is None else size,
        **more,
    )


def permuted_copies(copies: int, n: int = 12, rows: int = 40, seed: int = 0):
    random = np.random.default_rng(seed)
    features, scores = random.standard_normal((rows, n)), random.random(n) + 0.1
    orders = [np.arange(n), *[random.permutation(n) for _ in range(copies - 1)]]
    return orders, stats_of([features[:, o] for o in orders], [scores[o] for o in orders])


def random_stats(copies: int, n: int = 10, rows: int = 30, seed: int = 0) -> SpaceStats:
    random = np.random.default_rng(seed)
    return stats_of(
        [random.standard_normal((rows, n)) for _ in range(copies)], [random.random(n) + 0.1 for _ in range(copies)]
    )


def variants(name: str) -> Iterator[dict[str, Any]]:
    """The defaults, and each parameter at every choice and at the ends of its range."""
    yield {}
    for p in registry.get("grouping", name).parameters:
        values = [*(p.choices or p.words), *([True, False] if p.type == "bool" else [])]
        values += [v for v in (p.ge, 2 if p.name == "reference" else p.le) if v is not None]
        yield from ({p.name: v} for v in values if v != p.default)
