"""The recipe being put together on the Fuse page: starts as a preset, can be changed, undone and reset.

Levels merged on the Parents page are in the address; they are laid over the recipe where its solver can use them. A
recipe that differs from its preset is kept in the store and named by the address, so that it survives a reload.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.capability import Facts, Methods
from fusion_engine.core.recipe import Recipe

from ..shared import state
from ..shared.page_frame import existing
from . import recipes

_KEEP = 50


class Draft:
    """Lives in the session. Widgets' keys carry `version`: a new version draws them afresh from the recipe."""

    def __init__(self, presets: Sequence[Mapping[str, Any]], methods: Methods) -> None:
        self._methods = methods
        self._presets = {p["name"]: p for p in presets}
        self._data = st.session_state.setdefault("draft", {"recipe": None, "history": [], "version": 0, "preset": ""})
        preset = state.choice("recipe", self._presets)
        if self._data["preset"] != preset:
            self._load(preset)
        if (kept := state.get("draft")) and kept != self._data.get("kept"):
            self._adopt(kept)

    @property
    def preset(self) -> Mapping[str, Any]:
        return self._presets[self._data["preset"]]

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe as it stands, with the levels that were merged by hand."""
        return recipes.with_levels(self._data["recipe"], self._methods, self.levels)

    @property
    def levels(self) -> str:
        """Levels merged by hand, such as '0-2,3'; '' where none are."""
        return state.get("levels")

    @property
    def version(self) -> int:
        """Changes whenever the widgets must be drawn afresh."""
        return int(self._data["version"])

    @property
    def changed(self) -> bool:
        return not self._same(self.recipe, self._original(self._data["preset"]))

    @property
    def missing(self) -> bool:
        """Whether the address named a recipe that this store has not got: what is shown is the preset."""
        return bool(self._data.get("missing"))

    @property
    def can_undo(self) -> bool:
        return bool(self._data["history"])

    def update(self, recipe: dict[str, Any]) -> None:
        """Take over what the forms say; the recipe before goes to the history."""
        if not self._same(recipes.with_levels(recipe, self._methods, self.levels), self.recipe):
            self._remember()
            self._data["recipe"] = recipe
            self._keep()

    def choose(self, preset: str) -> None:
        self._remember()
        state.put(recipe=preset)
        self._load(preset)
        self._keep()

    def take(self, preset: str, recipe: Mapping[str, Any]) -> None:
        """Start over from a recipe made of a preset."""
        self.choose(preset)
        self._data["recipe"] = Recipe.from_mapping({**recipe, "name": preset}).to_mapping()
        self._keep()

    def nearest(self, recipe: Mapping[str, Any]) -> str:
        """The preset that a recipe is of: that of its name, or the one with the most of its methods."""
        if recipe.get("name") in self._presets:
            return str(recipe["name"])
        wanted = Recipe.from_mapping(recipe).to_mapping()

        def apart(name: str) -> int:
            own = self._original(name)
            return sum(own[kind]["method"] != wanted[kind]["method"] for kind in ("importance", "grouping", "solver"))

        return min(self._presets, key=apart)

    def take_methods(self, importance: str, grouping: str, facts: Facts) -> None:
        """Start over from these two methods: the preset that is nearest to them and can run here, with them in it."""
        known = (("importance", importance), ("grouping", grouping))
        chosen = {kind: {"method": name} for kind, name in known if any(m["name"] == name for m in self._methods[kind])}
        if not chosen:
            return

        def distance(name: str) -> tuple[bool, int, bool]:
            own = self._original(name)
            apart = [kind for kind in chosen if own[kind]["method"] != chosen[kind]["method"]]
            refused = recipes.refusal(self._with(own, chosen), self._methods, facts)
            return bool(refused), 2 * ("grouping" in apart) + ("importance" in apart), name != self._data["preset"]

        nearest = min(self._presets, key=distance)
        self.take(nearest, self._with(self._original(nearest), chosen))

    def reset(self) -> None:
        """Back to the preset as it is written, its levels included."""
        self.choose(self._data["preset"])
        state.forget("levels")

    def clear_levels(self) -> None:
        """Let the solver choose the levels again."""
        self._remember()
        state.forget("levels")

    def undo(self) -> None:
        """Back to the recipe before the last change."""
        preset, recipe, levels = self._data["history"].pop()
        state.put(recipe=preset, levels=levels or None)
        self._data.update(preset=preset, recipe=recipe, version=self.version + 1)
        self._keep()

    @staticmethod
    def _with(recipe: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The recipe with other methods in it; a method that is there already keeps its parameters."""
        changed = {kind: step for kind, step in steps.items() if recipe[kind]["method"] != step["method"]}
        return {**recipe, **changed}

    def _keep(self) -> None:
        """Name the recipe in the address where it differs from its preset."""
        kept = None
        if not self._same(self._data["recipe"], self._original(self._data["preset"])):
            text = json.dumps(self._data["recipe"], sort_keys=True, allow_nan=False)
            kept = store.keep_text("recipe", text)
        self._data.update(kept=kept, missing=False)
        state.put(draft=kept)

    def _adopt(self, kept: str) -> None:
        """Take over the recipe that the address names, where it is in the store and of the preset chosen."""
        text = existing(store.read_text, "recipe", kept)
        recipe = None if text is None else json.loads(text)
        if recipe is None or recipe.get("name") != self._data["preset"]:
            state.forget("draft")
            self._data["missing"] = text is None
            return
        self._data.update(
            recipe=Recipe.from_mapping(recipe).to_mapping(), version=self.version + 1, kept=kept
        )

    def _same(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return recipes.normal(one, self._methods) == recipes.normal(other, self._methods)

    def _remember(self) -> None:
        kept = (self._data["preset"], self._data["recipe"], self.levels)
        self._data["history"] = [*self._data["history"], kept][-_KEEP:]

    def _load(self, preset: str) -> None:
        self._data.update(preset=preset, recipe=self._original(preset), version=self.version + 1)

    def _original(self, preset: str) -> dict[str, Any]:
        return Recipe.from_mapping({**self._presets[preset]["recipe"], "name": preset}).to_mapping()
