"""A search before it begins: its recipe, dimensions and budget, checked against parents and data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import registry
from ..core.errors import RecipeError
from ..core.recipe import Recipe
from ..pipeline import checked_recipe
from ..presets import get_preset
from .inputs import SearchInputs
from .space import Dimension, chosen

_MOST_TRIALS = 10_000
_LONGEST = 30 * 24 * 3600.0


@dataclass(frozen=True)
class SearchPlan:
    """recipe: with all defaults filled in. budget: {"trials", "seconds"}. inputs: their digest."""

    recipe: Recipe
    dimensions: tuple[Dimension, ...]
    budget: Mapping[str, Any]
    seed: int
    inputs: str
    samples: Mapping[str, int]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; what `identity` leaves out may change when a search goes on."""
        about = {"budget": dict(self.budget), "samples": dict(self.samples), "notes": list(self.notes)}
        return {**self.identity(), **about}

    def identity(self) -> dict[str, Any]:
        """What makes two searches the same one: the same trials come of it."""
        return {
            "recipe": self.recipe.to_mapping(), "dimensions": [d.as_json() for d in self.dimensions], "seed": self.seed,
            "inputs": self.inputs,
        }


def make_plan(
    inputs: SearchInputs,
    recipe: str | Recipe | Mapping[str, Any],
    dimensions: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    *,
    trials: int = 30,
    seconds: float | None = None,
    seed: int = 0,
) -> SearchPlan:
    """dimensions: see `space.chosen`. trials, seconds: the budget, whichever ends first; None: no limit. Raises
    FusionError in one line where the recipe cannot work on the inputs, or has nothing to search."""
    if isinstance(recipe, str):
        recipe = get_preset(recipe).recipe
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_mapping(recipe)
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= _MOST_TRIALS:
        raise RecipeError(f"trials must be a whole number from 1 to {_MOST_TRIALS:,}, not {trials!r}")
    if seconds is not None and not 0 < seconds <= _LONGEST:
        raise RecipeError(f"seconds must be above 0 and at most {_LONGEST:,.0f}, not {seconds!r}")
    checked = checked_recipe(inputs.parents, inputs.fit, recipe, inputs.base)
    space = chosen(checked.to_mapping(), registry.catalogue(), dimensions)
    samples = {"fitted": len(inputs.fit), "held_out": len(inputs.held)}
    if inputs.test is not None:
        samples["test"] = len(inputs.test)
    return SearchPlan(
        checked, tuple(space), {"trials": trials, "seconds": seconds}, seed, inputs.digest, samples,
        tuple(_notes(inputs, space)),
    )


def _notes(inputs: SearchInputs, space: Sequence[Dimension]) -> list[str]:
    held = f"{len(inputs.held):,} samples"
    judged = f"trials are judged by their loss on {held} that no fusion looks at"
    if inputs.split:
        judged += ", held out of the calibration data: fused again with all of it, the best recipe's weights differ"
    notes = [
        judged,
        "the best trial was chosen by its held-out loss, so that figure flatters it"
        + ("; test figures stand beside and chose nothing" if inputs.test is not None else ""),
    ]
    words = [f"{d.path} ({d.start})" for d in space if not d.holds(d.start)]
    if words:
        notes.append(f"only the first trial, the recipe as given, has what is not searched: {', '.join(words)}")
    return [*notes, *inputs.read]
