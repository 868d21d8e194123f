"""Choosing parents, data and runs from what the store has."""

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from fusion_engine import store

from ..shared import state
from ..shared.page_frame import empty, existing
from ..shared.text import count, distinct, plain, short, when

BUILT_IN = {
    "digits:train": "Digits, training part (scikit-learn)",
    "digits:test": "Digits, test part (scikit-learn)",
    "digits": "Digits, all of them (scikit-learn)",
}
BUILT_IN_SAMPLES = {"digits:train": 1258, "digits:test": 539, "digits": 1797}
BUILT_IN_SHAPE = (1, 8, 8)


def describe_parents(summary: dict[str, Any]) -> str:
    """'demo · 2 × mlp'; the name alone where it says as much."""
    if str(summary["architecture"]) in summary["name"]:
        return short(summary["name"], 60)
    return f"{summary['name']} · {len(summary['parents'])} × {short(summary['architecture'], 40)}"


def selected_parents() -> dict[str, Any] | None:
    """Summary of the parent set in the URL; None if there is none."""
    chosen = state.get("parents")
    return store.read_parents_summary(chosen) if chosen else None


def parents_or_empty(message: str) -> dict[str, Any]:
    """Summary of the parent set in the URL; without one the page says so and ends."""
    return selected_parents() or empty(message, "parents", "Choose parents")


def parents_select(label: str = "Parents") -> None:
    """Choose among the parent sets in the store; the choice goes to the URL."""
    known = {summary["id"]: describe_parents(summary) for summary in store.list_parents()}
    select("parents", label, known, "Choose a set of parents")


def data_select(
    key: str, label: str, optional: bool = False, hint: str | None = None, otherwise: str | None = None
) -> None:
    """Choose calibration ('data') or test data ('test'): built in, or imported earlier."""
    select(key, label, ({"": "None"} if optional else {}) | all_data(), "Choose data", hint, otherwise)


def all_data() -> dict[str, str]:
    """Labels of all data sets, by id: built in, and imported earlier."""
    return BUILT_IN | {d["id"]: f"{d['name']} · {count(d['samples'], 'sample')}" for d in store.list_data()}


def select(
    key: str, label: str, known: dict[str, str], placeholder: str, hint: str | None = None, otherwise: str | None = None
) -> None:
    """Choose among `known`, labels by value; the choice goes to the URL as `key`.

    otherwise: what is shown where the URL has none.
    """
    # Streamlit tells options apart by their labels, so those must differ.
    names = dict(zip(known, distinct(known.values(), 80), strict=True))
    current = state.get(key)
    st.selectbox(
        label, list(known), format_func=names.__getitem__, placeholder=placeholder, help=hint,
        **state.bound(key, f"pick-{key}", current if current in known else otherwise, lambda chosen: chosen or None),
    )


def data_name(identifier: str) -> str:
    if identifier in BUILT_IN:
        return BUILT_IN[identifier].removesuffix(" (scikit-learn)")
    summary = existing(store.read_data_summary, identifier)
    return str(summary["name"]) if summary else "no longer in the store"


def context(summary: dict[str, Any], test: bool = False) -> None:
    """One quiet line: which parents and data this page works on, and a way to change them."""
    with st.container(horizontal=True, vertical_alignment="center", key="context"):
        parts = [f":material/account_tree: {plain(describe_parents(summary))}"]
        if state.get("data"):
            parts.append(f":material/dataset: {plain(data_name(state.get('data')))}")
        if test and state.get("test"):
            parts.append(f":material/fact_check: {plain(data_name(state.get('test')))}")
        st.markdown("&emsp;".join(parts), width="content")
        with st.popover("Change", type="tertiary", icon=":material/edit:"):
            parents_select()
            data_select("data", "Calibration data")
            if test:
                data_select("test", "Test data", optional=True)


def run_labels(runs: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Labels of runs, by id; no two are the same."""
    listed = list(runs)
    return dict(zip((r["id"] for r in listed), distinct(map(run_label, listed), 80), strict=True))


def run_label(run: Mapping[str, Any], *parts: str) -> str:
    """'the good one · 14:03:22 · kf_linear · seed 0'; without a name or recipe where the run has none. parts: what is
    said in place of the seed."""
    about = run.get("about") or existing(store.read_about, run["id"])
    named = [short(about["name"], 32)] if about and about["name"] else []
    recipe = short(store.recipe_name(run["arguments"]), 24)
    rest = parts or (f"seed {run['arguments'].get('seed', 0)}",)
    return " · ".join([*named, when(run["created"]), *filter(None, [recipe]), *rest])


def pairings(methods: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Titles of the groupings that pair neurons, by name: what networks can be aligned by."""
    return {m["name"]: m["title"] for m in methods if m["pairs"] and m["name"] != "identity"}
