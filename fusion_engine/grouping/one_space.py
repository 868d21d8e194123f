"""Run a registered grouping on one space, or on whole networks, with the importances brought to mean 1."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..core import registry
from ..core.errors import FusionError
from ..core.progress import Progress
from ..core.types import Array, Grouping
from ..stats import SpaceStats
from .from_labels import identity_grouping
from .network import Network


def group(
    stats: SpaceStats, method: str, parameters: Mapping[str, Any] | None = None, progress: Progress | None = None
) -> Grouping:
    """Group one space with the registered `method`.

    The scale of the importances does not matter: they are divided by their mean here, once for all methods. Raises
    RecipeError for an unknown method or parameter, FusionError where the method cannot group this space, or what it
    sees is not finite (it names the space).
    """
    spec = registry.get("grouping", method)
    filled = registry.check_parameters("grouping", method, dict(parameters or {}))
    if stats.parents == 1 and stats.sizes == (stats.size,):
        return identity_grouping(stats.space, stats.sizes, stats.size, method=method)
    _check_finite(stats.space, *stats.importance, finite=stats.finite)
    mean = max(float(np.mean(stats.weights)), np.finfo(np.float64).tiny)
    scaled = replace(stats, importance=tuple(s / mean for s in stats.importance))
    grouping: Grouping = spec.run(scaled, progress=progress, **filled)
    return grouping


def group_network(network: Network, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Grouping]:
    """Group all open spaces of the networks at once, with a registered `method` of scope 'network'.

    Importances are divided by their mean over the parents, space by space. Raises as `group` does.
    """
    spec = registry.get("grouping", method)
    filled = registry.check_parameters("grouping", method, dict(parameters or {}))
    scaled: list[dict[str, Any]] = [{} for _ in network.states]
    for name in network.importance[0]:
        _check_finite(name, *(s[name] for s in network.importance))
        mean = max(float(np.mean(np.concatenate([s[name] for s in network.importance]))), np.finfo(np.float64).tiny)
        for own, scores in zip(scaled, network.importance, strict=True):
            own[name] = scores[name] / mean
    found: dict[str, Grouping] = spec.function(replace(network, importance=tuple(scaled)), **filled)
    return found


def _check_finite(space: str, *arrays: Array, finite: bool = True) -> None:
    if not finite or not all(np.isfinite(array).all() for array in arrays):
        raise FusionError(
            f"space {space!r}: a parent's features are not finite on the calibration samples; check its weights, and "
            "that the samples are scaled as its training data was"
        )
