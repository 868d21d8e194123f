"""What a recipe asks for before it can run, in one line, read from what its methods say of themselves."""

from collections.abc import Mapping
from typing import Any

from ..core.capability import Methods, steps, used
from ..core.registry import needed

_LOOKS_AT_SAMPLES = {"moments", "gradients", "labels"}


def needs(recipe: Mapping[str, Any], methods: Methods) -> str:
    """For example '2 parents of equal widths, calibration samples with labels, a base model'.

    recipe: a Recipe's mapping. methods: `registry.catalogue()`, or the same from the app's catalogue.
    """
    parts = [(step, entry) for _, step, entry in used(recipe, methods) if entry is not None]
    asked, entries = {need for step, entry in parts for need in needed(entry, step)}, [entry for _, entry in parts]
    most = min((entry["max_parents"] for entry in entries if entry["max_parents"] is not None), default=None)
    least = max([2, *(entry["min_parents"] for entry in entries)])
    if most is None:
        parents = "two parents or more" if least == 2 else f"{least} parents or more"
    else:
        parents = f"{most} parents" if most == least else f"{least} to {most} parents"
    if any(entry["widths"] == "equal" for entry in entries):
        parents += " of equal widths"
    samples = "calibration samples" if asked & _LOOKS_AT_SAMPLES else "calibration samples for checking only"
    told = [parents, samples + (" with labels" if "labels" in asked else "")]
    if "base" in asked:
        told.append("the base model they were trained from")
    shares = any(step.get("head_weights") == "class_share" for _, step in steps(recipe))
    if "class_counts" in asked or shares:
        told.append("the parents' class counts")
    return ", ".join(told)
