"""What a recipe asks for before it can run, in one line, read from what its methods say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["needs", "steps"]

_LOOKS_AT_SAMPLES = {"moments", "gradients", "labels"}


def needs(recipe: Mapping[str, Any], methods: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """For example '2 parents of equal widths, calibration samples with labels, a base model'.

    recipe: a Recipe's mapping. methods: `registry.catalogue()`, or the same from the app's catalogue.
    """
    used = list(_used(recipe, methods))
    wanted = {need for entry in used for need in entry["needs"]}
    most = min((entry["max_parents"] for entry in used if entry["max_parents"] is not None), default=None)
    least = max([2, *(entry["min_parents"] for entry in used)])
    if most is None:
        parents = "any number of parents" if least == 2 else f"{least} parents or more"
    else:
        parents = f"{most} parents" if most == least else f"{least} to {most} parents"
    if any(entry.get("pairs") or entry.get("widths") == "equal" for entry in used):
        parents += " of equal widths"
    samples = "calibration samples" if wanted & _LOOKS_AT_SAMPLES else "calibration samples for checking only"
    parts = [parents, samples + (" with labels" if "labels" in wanted else "")]
    if "base" in wanted:
        parts.append("the base model they were trained from")
    shares = any(dict(step).get("head_weights") == "class_share" for step in steps(recipe))
    if "class_counts" in wanted or shares:
        parts.append("the parents' class counts")
    return ", ".join(parts)


def steps(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Importance, grouping, solver and what follows it, of a Recipe's mapping."""
    return [recipe["importance"], recipe["grouping"], recipe["solver"], *recipe["post"]]


def _used(
    recipe: Mapping[str, Any], methods: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterable[Mapping[str, Any]]:
    kinds = ["importance", "grouping", "solver", *("post" for _ in recipe["post"])]
    for kind, step in zip(kinds, steps(recipe), strict=True):
        yield from (entry for entry in methods.get(kind, ()) if entry["name"] == step["method"])
