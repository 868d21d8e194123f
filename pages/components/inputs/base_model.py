"""Choosing the base model, for recipes that merge what training has changed in one."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError

from ..run import progress
from ..shared import state
from . import pickers

_TYPES = ["safetensors", "pt", "pth", "pt2"]


def base_model(summary: Mapping[str, Any]) -> str:
    """The base model in the URL, as job arguments name it; '' where none is chosen that could be one of `summary`'s."""
    return state.get("base") if state.get("base") in _candidates(summary) else ""


def base_file(reference: str) -> str:
    """What the command line calls a base model; '' for none."""
    if not reference:
        return ""
    parent_set, _, number = reference.partition(".")
    try:
        name = store.read_parents_summary(parent_set)["parents"][int(number)]["name"]
    except (FusionError, IndexError, ValueError):
        return "BASE"
    return f"{name}.safetensors"


def base_select(summary: dict[str, Any]) -> None:
    """Choose among the models of the store that are built as the parents are, or upload one; the choice goes to the
    URL."""
    with st.container(border=True, key="base-model"):
        run = state.get("loading")
        if run and progress.follow(run, "Reading the base model"):
            state.forget("loading")
            state.put(base=f"{store.read_result(run)['parents']}.0")
            st.rerun()
        known = _candidates(summary)
        pickers.select(
            "base", "Base model", known, "Choose the model that the parents were trained from",
            "The recipe merges what training has changed in it. Models of this architecture from all sets are listed.",
        )
        with st.expander("Upload a base model", icon=":material/upload:", expanded=not known):
            file = st.file_uploader("One checkpoint", type=_TYPES, key="base-file")
            if st.button("Import base model", disabled=file is None, key="base-import") and file is not None:
                started = progress.submit_upload([file], "import_parents", {"base": True})
                if started:
                    state.put(loading=started)
                    st.rerun()


def _candidates(summary: Mapping[str, Any]) -> dict[str, str]:
    """Labels of possible base models by reference: a set's id, a dot, and a number in it."""
    wanted = shapes(summary["parents"][0])
    return {
        f"{stored['id']}.{number}": stored["name"] + (f" · {parent['name']}" if len(stored["parents"]) > 1 else "")
        for stored in store.list_parents(1) if stored["id"] != summary["id"]
        for number, parent in enumerate(stored["parents"]) if shapes(parent) == wanted
    }


def shapes(parent: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """Names and shapes of a parent's tensors."""
    return [(layer["name"], layer["shape"]) for layer in parent["layers"]]
