"""Markdown tables of all recipes and methods, for docs/methods.md: written from the registry, never by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fusion_engine.core import registry
from fusion_engine.core.capability import steps
from fusion_engine.presets import needs, recipes

__all__ = ["markdown"]

_NEEDS = {"class_counts": "class counts", "base": "base model"}


def markdown() -> str:
    """The recipes with what each needs and whom to cite, then the methods of every kind."""
    methods = registry.catalogue()
    rows = []
    for preset in recipes().values():
        recipe = preset.recipe.to_mapping()
        made = ", ".join(step["method"] for _, step in steps(recipe))
        rows.append([f"`{preset.name}`", made, needs(recipe, methods), preset.citation or "this project"])
    parts = ["### Recipes\n", _table(["recipe", "made of", "needs", "cite"], rows)]
    for kind, entries in methods.items():
        rows = [
            [f"`{e['name']}`", e["title"], ", ".join(_NEEDS.get(n, n) for n in e["needs"]) or "nothing", e["citation"]]
            for e in entries
        ]
        parts += [f"\n### Methods: {kind}\n", _table(["method", "title", "needs", "cite"], rows)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
