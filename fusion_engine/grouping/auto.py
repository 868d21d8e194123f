"""Automatic grouping: try several methods on every space and keep what represents unseen samples best."""

from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from ..core import registry
from ..core.errors import FusionError, RecipeError
from ..core.registry import Param, register
from ..core.types import Grouping
from ..stats import SpaceStats, WideStats
from .parameters import FeaturesParameter

_CANDIDATES = "kmeans, balanced, agglomerative, permutation"


@register(
    "grouping",
    "auto",
    title="Automatic, space by space",
    citation="this project: the smallest representation error on held-out samples",
    needs={"moments", "importance"},
    equivariant=lambda candidates, **_: all(
        registry.get("grouping", name.strip()).is_equivariant() for name in candidates.split(",") if name.strip()
    ),
)
def auto(
    stats: SpaceStats,
    *,
    candidates: Annotated[str, Param("groupings to try, separated by commas")] = _CANDIDATES,
    features: FeaturesParameter = "pre",
) -> Grouping:
    """Tries several groupings on every space and keeps the one that loses least of the parents' features on held-out
    samples.

    Each is made from the samples that are not held out and judged by sum_i s_i ||f_i - (U M f)_i||^2 over the held-out
    ones, in shares of sum_i s_i ||f_i||^2; the best is then made from all samples. info['chosen'] holds its name, the
    errors of all, and why others could not be tried. Without held-out moments all samples judge. Raises RecipeError for
    a candidate that is no grouping by features, FusionError if none can group the space.
    """
    names = [name.strip() for name in candidates.split(",") if name.strip()]
    if not names:
        raise RecipeError("grouping.candidates: name at least one grouping, such as kmeans")
    specs = [_candidate(name) for name in names]
    seen, held = stats.split() if stats.judged else (stats, stats)
    errors: dict[str, float] = {}
    refused: dict[str, str] = {}
    for spec in specs:
        try:
            errors[spec.name] = lost(held, _made(spec, seen))
        except FusionError as error:
            refused[spec.name] = str(error)
    if not errors:
        raise FusionError(next(iter(refused.values())))
    best = min(errors, key=lambda name: errors[name])
    chosen: dict[str, Any] = {"method": best, "held_out_error": errors}
    if refused:
        chosen["refused"] = refused
    made = _made(registry.get("grouping", best), stats)
    return replace(made, info={**made.info, "chosen": chosen})


def _candidate(name: str) -> registry.MethodSpec:
    spec = registry.get("grouping", name)
    if spec.scope == "network" or spec.name == "auto":
        raise RecipeError(f"grouping.candidates: {name!r} does not group single spaces by features; leave it out")
    return spec


def _made(spec: registry.MethodSpec, stats: SpaceStats) -> Grouping:
    if spec.max_parents is not None and stats.parents > spec.max_parents:
        raise FusionError(f"{spec.name} takes at most {spec.max_parents} parents")
    grouping: Grouping = spec.run(stats, **registry.check_parameters("grouping", spec.name, {}))
    return grouping


def lost(stats: SpaceStats, grouping: Grouping) -> float:
    """Share of the parents' importance-weighted features that merging loses: sum_i s_i ||f_i - (U M f)_i||^2 over
    sum_i s_i ||f_i||^2."""
    if isinstance(stats, WideStats):
        total = float(stats.weights @ stats.squares)
        return float(stats.weights @ stats.lost(grouping)) / total if total else 0.0
    rest = np.eye(len(stats.gram)) - np.concatenate(grouping.unmerge) @ np.concatenate(grouping.merge, 1)
    error = np.einsum("ij,ij->i", rest @ stats.gram, rest)
    total = float(stats.weights @ np.diag(stats.gram))
    return float(stats.weights @ np.maximum(error, 0.0)) / total if total else 0.0
