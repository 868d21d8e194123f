"""Importance of all neurons by several methods, beside each other."""

from collections.abc import Sequence

import numpy as np

from fusion_engine.core import registry
from fusion_engine.core.errors import Cancelled, DataError, FusionError, RecipeError
from fusion_engine.core.progress import Progress
from fusion_engine.data import Dataset
from fusion_engine.fusing import RunLog
from fusion_engine.importance.attribution import OUTPUT
from fusion_engine.parents import Parent
from fusion_engine.pipeline import prepare
from fusion_engine.stats import StatisticsCache

# The same for every neuron, and a forward pass a neuron: asked for by name, never unasked.
_UNASKED = {"uniform", "feature_ablation"}


def offered_methods() -> list[str]:
    """The methods whose scores are shown where none are named: those that tell neurons apart in one pass or a few."""
    return [name for name in registry.names("importance") if name not in _UNASKED]


def all_scores(
    parents: Sequence[Parent],
    data: Dataset,
    methods: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    cache: StatisticsCache | None = None,
) -> tuple[dict[str, dict[str, list[np.ndarray]]], dict[str, str]]:
    """Scores of every neuron by every method that works on these parents.

    Returns {method: {space: one (n_p,) float64 array a parent}} and, by method, why another one was left out. What
    fusions or explorations of the same parents and samples know already is taken from `cache`. Raises RecipeError for
    a name that is no method, DataError where the samples do not fit the parents.
    """
    for name in methods:
        registry.get("importance", name)
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    skipped: dict[str, str] = {}
    for name, part in (progress or Progress()).each(list(methods)):
        recipe = {"importance": name, "grouping": "kmeans"}
        try:
            prepared = prepare(parents, data, recipe, RunLog(part), seed=seed, cache=cache, exploring=True)
        except (Cancelled, DataError):
            raise
        except FusionError as error:
            skipped[name] = str(error)
            continue
        scores = prepared.inputs.importance
        found[name] = {
            space: [own[space].double().cpu().numpy() for own in scores] for space in scores[0] if space != OUTPUT
        }
    if not found:
        raise RecipeError("no importance works on these parents: " + "; ".join(f"{n}: {r}" for n, r in skipped.items()))
    return found, skipped


def ranks(scores: np.ndarray) -> np.ndarray:
    """(n,) int64 rank of each neuron in its parent, 1 for the highest score; equal scores share the better rank."""
    return np.asarray(1 + (scores[None, :] > scores[:, None]).sum(1), np.int64)
