"""The table of a search from the trials there are so far, and what is left of its budget. Pure; imports no torch."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.recipe import Recipe
from .shapes import SearchTable, Trial


def budget_left(budget: Mapping[str, Any], trials: Sequence[Trial]) -> bool:
    """Whether a search goes on. budget: {"trials": number, "seconds": number or None}; seconds are those of its trials,
    over all of its sessions."""
    spent = sum(trial["seconds"] for trial in trials)
    return len(trials) < budget["trials"] and (budget["seconds"] is None or spent < budget["seconds"])


def budget_share(budget: Mapping[str, Any], trials: Sequence[Trial]) -> float:
    """How much of a budget is used, in [0, 1]."""
    spent = sum(trial["seconds"] for trial in trials)
    return float(min(1.0, max(len(trials) / budget["trials"], spent / budget["seconds"] if budget["seconds"] else 0.0)))


def failed_trial(number: int, settings: Mapping[str, Any], reason: str) -> Trial:
    """A trial without figures."""
    return {
        "number": number, "state": "failed", "settings": dict(settings), "loss": None, "held_out": None, "test": None,
        "metric": "accuracy", "seconds": 0.0, "same_as": None, "reason": reason, "ended": time.time(),
    }


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The one with the smallest held-out loss, the earliest of equals."""
    done = [trial for trial in trials if trial["loss"] is not None]
    return min(done, key=lambda trial: (trial["loss"], trial["number"]), default=None)


def recipe_of(plan: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """The recipe with a trial's settings, as a mapping."""
    return Recipe.from_mapping(plan["recipe"]).set(trial["settings"]).to_mapping()


def search_table(plan: Mapping[str, Any], trials: Sequence[Trial]) -> SearchTable:
    """The table of a plan's (`SearchPlan.as_json`) trials."""
    best = best_trial(trials)
    return {
        "recipe": dict(plan["recipe"]), "dimensions": list(plan["dimensions"]), "trials": list(trials),
        "best": None if best is None else best["number"],
        "best_recipe": None if best is None else recipe_of(plan, best),
        "budget": dict(plan["budget"]), "spent": round(sum(trial["seconds"] for trial in trials), 4),
        "samples": dict(plan["samples"]), "seed": plan["seed"],
        "metric": next((trial["metric"] for trial in trials if trial["state"] == "done"), "accuracy"),
        "notes": list(plan["notes"]),
    }
