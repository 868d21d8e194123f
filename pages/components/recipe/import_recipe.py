"""A recipe from elsewhere: a YAML file or pasted text becomes the recipe on Fuse, or is refused in one line."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine.core.capability import Methods, used
from fusion_engine.core.errors import FusionError, RecipeError
from fusion_engine.core.recipe import Recipe
from fusion_engine.core.registry import ParameterSpec, nearest

from ..shared.text import plain
from .recipe_draft import Draft

_LIMIT = 4 * 2**20  # bytes, as of files of edits
_SAID = "recipe-import-said"
_TURN = "recipe-import-turn"  # part of the uploader's key: a new one is empty


def import_recipe(draft: Draft, methods: Methods) -> None:
    """Upload or paste; what was refused is said until the next try."""
    with st.expander("Import a recipe", icon=":material/upload_file:", expanded=_SAID in st.session_state):
        file = st.file_uploader("A recipe file (YAML)", type=["yaml", "yml"], key=_file_key())
        text = st.text_area(
            "Or paste it", key="recipe-text", height=120, placeholder="grouping: {method: kmeans, tries: 5}"
        )
        st.button(
            "Use this recipe", key="recipe-import", icon=":material/check:", disabled=file is None and not text.strip(),
            on_click=lambda: _use(draft, methods),
        )
        if _SAID in st.session_state:
            st.error(plain(st.session_state[_SAID]), icon=":material/error:")


def _file_key() -> str:
    return f"recipe-file-{st.session_state.get(_TURN, 0)}"


def _use(draft: Draft, methods: Methods) -> None:
    file, text = st.session_state.get(_file_key()), str(st.session_state.get("recipe-text") or "")
    st.session_state.pop(_SAID, None)
    try:
        if file is not None and text.strip():
            raise RecipeError("there are a file and pasted text: take one of them away")
        recipe = read_recipe(file.getvalue() if file is not None else text.encode(), methods)
    except FusionError as error:
        st.session_state[_SAID] = str(error)
        return
    draft.take(draft.nearest(recipe), recipe)
    st.session_state["recipe-text"] = ""
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1


def read_recipe(content: bytes, methods: Methods) -> dict[str, Any]:
    """The recipe in YAML. Raises RecipeError in one line for what is none, and for methods, parameters and values that
    there are not."""
    if len(content) > _LIMIT:
        raise RecipeError(f"the recipe is larger than {_LIMIT // 2**20} MiB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError("the recipe is not a text file") from None
    recipe = Recipe.from_yaml(text).to_mapping()
    for kind, step, entry in _steps(recipe, methods):
        known = {p["name"]: ParameterSpec(**p) for p in entry["parameters"]}
        for name, value in step.items():
            if name == "method":
                continue
            if name not in known:
                raise RecipeError(f"{kind} {step['method']!r} has no parameter {name!r}{nearest(name, known)}")
            step[name] = known[name].check(value, f"{kind}.{name}")
    return recipe


def _steps(recipe: Mapping[str, Any], methods: Methods) -> list[tuple[str, Any, Mapping[str, Any]]]:
    found = []
    for kind, step, entry in used(recipe, methods):
        if entry is None:
            there = [other["name"] for other in methods[kind]]
            raise RecipeError(f"unknown {kind} {step['method']!r}{nearest(step['method'], there)}")
        found.append((kind, step, entry))
    return found
