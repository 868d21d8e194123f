"""Presets x importances x seeds as rows, each checked against the parents and the data before anything runs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from .. import __version__
from ..core import registry
from ..core.errors import FusionError, RecipeError
from ..core.recipe import Recipe
from ..data import Dataset, check_samples
from ..graph import Trace, trace
from ..parents import Parent, check_parents, same_widths, settled
from ..pipeline import checked_recipe, plan_widths
from ..presets import get_preset, recipes
from ..stats import checked_device
from .rows import Row

OWN = "own"
"""Stands for a preset's own importance in a list of importances."""


@dataclass(frozen=True)
class Inputs:
    """What all fusions of a leaderboard are given: parents, calibration samples, labelled test samples, device, and
    the model the parents were trained from, where it is known. The parents are read as `settled` says, as by every
    fusion, so that references are of the same networks."""

    parents: Sequence[Parent]
    data: Dataset
    test: Dataset
    device: str = "cpu"
    base: Parent | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", settled(self.parents, self.data)[0])

    def check(self) -> None:
        """Raise a FusionError if no fusion at all can run on these."""
        checked_device(self.device)
        check_parents(self.parents)
        first = self.parents[0]
        check_samples(self.data, first.classes, first.input_shape)
        check_samples(self.test, first.classes, first.input_shape)
        if self.test.y is None and not self.test.tokens:
            raise FusionError(f"{self.test.name}: there are no labels, and a leaderboard needs them (add an array y)")
        _ = self.graph

    @property
    def example(self) -> Tensor:
        """Two normalised samples, for tracing."""
        return self.data.normalised(slice(0, 2))

    @cached_property
    def graph(self) -> Trace:
        """The first parent's trace. Raises UnsupportedModelError if it cannot be followed."""
        return trace(self.parents[0].model, (self.example,))

    @cached_property
    def digest(self) -> str:
        """sha256 of everything the results depend on, but for recipe and seed."""
        parts: list[Any] = [__version__, self.device, self.data.digest, self.test.digest]
        parts += [None if self.base is None else self.base.digest]
        parts += [[str(p.architecture), p.digest, p.metadata.class_counts] for p in self.parents]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_plan(
    inputs: Inputs,
    presets: str | Sequence[str | Recipe] = "all",
    importances: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
) -> list[Row]:
    """The rows in the order in which they are to run: presets that train weights last, seed after seed, so that the
    table fills soon and evenly.

    presets: 'all', or names of presets and recipes. importances: methods that replace the presets' own one after
    another, 'own' among them for the preset's own; None: that alone. A combination that cannot run is one row
    with the reason. Raises FusionError where nothing can run, and for unknown names.
    """
    inputs.check()
    if not seeds:
        raise RecipeError("give at least one seed")
    methods = [OWN] if importances is None else list(dict.fromkeys(importances))
    if not methods:
        raise RecipeError("give at least one importance, or 'own' for the presets' own")
    for method in methods:
        if method != OWN:
            registry.get("importance", method)
    rows: dict[str, Row] = {}
    known: dict[str, str] = {}
    for recipe, title in _chosen(presets):
        for method in methods:
            for row in _rows(inputs, recipe, title, method, seeds, known):
                rows.setdefault(row.key, row)
    order = [None, *dict.fromkeys(seeds)]
    return sorted(rows.values(), key=lambda row: (_trains(row), order.index(row.seed)))


def _trains(row: Row) -> bool:
    """Whether the row's recipe trains weights, which takes much longer than all else."""
    return "gradients" in Recipe.from_mapping(row.recipe).solving_needs


def _chosen(presets: str | Sequence[str | Recipe]) -> list[tuple[Recipe, str]]:
    if isinstance(presets, str):
        if presets == "all":
            return [(preset.recipe, preset.title) for preset in recipes().values()]
        presets = [presets]
    if not presets:
        raise RecipeError("give at least one preset, or 'all'")
    known = [entry if isinstance(entry, Recipe) else get_preset(entry) for entry in presets]
    return [(entry, entry.name) if isinstance(entry, Recipe) else (entry.recipe, entry.title) for entry in known]


def _rows(
    inputs: Inputs, recipe: Recipe, title: str, method: str, seeds: Sequence[int], known: dict[str, str]
) -> list[Row]:
    own = method in (OWN, recipe.importance.method)
    changed = recipe if own else recipe.set({"importance": method})

    def row(mapping: dict[str, Any], seed: int | None, reason: str = "") -> Row:
        key = _key(inputs, mapping, seed)
        return Row(key, recipe.name, title, changed.importance.method, own, seed, mapping, reason)

    try:
        checked = checked_recipe(inputs.parents, inputs.data, changed, inputs.base)
        refused = _width_refusal(inputs, checked, known)
    except FusionError as error:
        refused = str(error)
    if refused:
        return [row(changed.to_mapping(), None, refused)]
    return [row(checked.to_mapping(), seed) for seed in dict.fromkeys(seeds)]


def _width_refusal(inputs: Inputs, recipe: Recipe, known: dict[str, str]) -> str:
    """Why the fused network cannot have the widths it would get; '' if it can. known: what was found before, as most
    recipes ask for the same."""
    plans = registry.get("grouping", recipe.grouping.method).plan is not None
    if not plans and recipe.width == 1 and same_widths(inputs.parents):
        return ""
    key = str((recipe.width, recipe.grouping.written() if plans else None))
    if key not in known:
        try:
            plan_widths(inputs.parents, inputs.graph, inputs.example, recipe.width, recipe.grouping)
            known[key] = ""
        except FusionError as error:
            known[key] = str(error)
    return known[key]


def _key(inputs: Inputs, recipe: dict[str, Any], seed: int | None) -> str:
    text = json.dumps([inputs.digest, recipe, seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
