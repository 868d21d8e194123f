"""Forms drawn from the catalogue: what a method's signature says is all these know about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
import yaml

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.registry import OTHERS, ParameterSpec

from ..shared.text import plain
from .recipes import LEVELS


def method_form(label: str, methods: Sequence[Mapping[str, Any]], step: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Choose a method and set its parameters; returns {'method': name, parameter: value, ...}."""
    titles = {m["name"]: m["title"] for m in methods}
    at = list(titles).index(step["method"]) if step["method"] in titles else 0
    name = st.selectbox(label, list(titles), index=at, format_func=titles.__getitem__, key=f"{key}.method")
    return _step_form(methods, name, [step], f"{key}.{name}")


def post_form(
    methods: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, Any]], key: str
) -> list[dict[str, Any]]:
    """Choose the steps after the solve, in order, and set their parameters."""
    titles = {m["name"]: m["title"] for m in methods}
    chosen = st.multiselect(
        "After the solve", list(titles), default=[s["method"] for s in steps if s["method"] in titles],
        format_func=titles.__getitem__, key=f"{key}.steps", placeholder="Nothing more",
        help="Steps that refine the fused network, in the order in which you choose them.",
    )
    result = []
    for number, name in enumerate(chosen):
        st.markdown(f"**{plain(titles[name])}**")
        result.append(_step_form(methods, name, steps, f"{key}.{number}.{name}"))
    return result


def _step_form(
    methods: Sequence[Mapping[str, Any]], name: str, steps: Sequence[Mapping[str, Any]], key: str
) -> dict[str, Any]:
    """What the chosen method is, and its parameters as `steps` has them."""
    entry = next(m for m in methods if m["name"] == name)
    source = f" *{plain(entry['citation'])}*" if entry["citation"] else ""
    if entry["summary"] or source:
        st.caption(plain(entry["summary"]) + source)
    values = next((s for s in steps if s["method"] == name), {})
    return {"method": name, **parameter_form(entry["parameters"], values, key)}


def parameter_form(parameters: Sequence[Mapping[str, Any]], values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One widget a parameter, those for experts on demand; returns only what differs from the defaults, so that
    recipes stay short.

    Merged levels have no widget here: they are chosen on the Parents page and laid over the recipe.
    """
    shown = [p for p in parameters if p["name"] != LEVELS]
    expert = [p for p in shown if p["expert"]]
    result = {p["name"]: values.get(p["name"], p["default"]) for p in shown}
    for parameter in shown:
        if parameter not in expert:
            result[parameter["name"]] = _field(parameter, result[parameter["name"]], f"{key}.{parameter['name']}")
    changed = any(result[p["name"]] != p["default"] for p in expert)
    if expert and st.toggle(f"Expert settings ({len(expert)})", value=changed, key=f"{key}.expert"):
        for parameter in expert:
            result[parameter["name"]] = _field(parameter, result[parameter["name"]], f"{key}.{parameter['name']}")
    return {p["name"]: result[p["name"]] for p in shown if result[p["name"]] != p["default"]}


def _field(parameter: Mapping[str, Any], value: Any, key: str) -> Any:
    label, note = parameter["label"], _help(parameter)
    if parameter["choices"] is not None:
        choices = ([None] if parameter["optional"] else []) + list(parameter["choices"])
        at = choices.index(value) if value in choices else 0
        return st.selectbox(label, choices, index=at, help=note, key=key, format_func=_option)
    if parameter["type"] == "bool" and not parameter["optional"]:
        return st.toggle(label, value=bool(value), help=note, key=key)
    if parameter.get("by_space"):
        return _by_space(parameter, value, key)
    words = list(parameter["words"]) + ([None] if parameter["optional"] else [])
    if not words:
        return _number(parameter, value, key, label)
    # A number or a word such as 'auto': first which of them, then the number.
    which = st.selectbox(
        label, [*words, ...], index=words.index(value) if value in words else len(words), help=note,
        key=f"{key}.which", format_func=lambda w: "a value" if w is ... else _option(w),
    )
    if which is not ...:
        return which
    start = value if isinstance(value, int | float) else None
    return _number(parameter, start, key, f"{label}: value")


def _by_space(parameter: Mapping[str, Any], value: Any, key: str) -> Any:
    """A number for all spaces; numbers for single ones in a line of text, which is checked as the job will check it."""
    label, known = parameter["label"], dict(value) if isinstance(value, Mapping) else {OTHERS: value}
    common = _number(parameter, known.pop(OTHERS, parameter["default"]), key, label)
    text = st.text_input(
        f"{label} of single spaces", ", ".join(f"{space}: {own}" for space, own in known.items()), key=f"{key}.spaces",
        placeholder="features.0: 0.8, features.3: 0.2", help="Spaces that are not named here take the number above.",
    )
    try:
        given = ParameterSpec(**parameter).check(yaml.safe_load(f"{{{text}}}"), label)
    except (yaml.YAMLError, RecipeError) as error:
        wrong = error if isinstance(error, RecipeError) else "write it as space: number, space: number"
        st.error(plain(f"{wrong}; not used"))
        return common
    return {**given, OTHERS: common} if text.strip() else common


def _number(parameter: Mapping[str, Any], value: Any, key: str, label: str) -> Any:
    if parameter["type"] == "str":
        return st.text_input(label, value=value or "", help=_help(parameter), key=key)
    kind = int if parameter["type"] == "int" else float
    low = None if parameter["ge"] is None else kind(parameter["ge"])
    high = None if parameter["le"] is None else kind(parameter["le"])
    start = kind(value) if value is not None else low if low is not None else kind(0)
    usual = parameter["default"] if isinstance(parameter["default"], int | float) and parameter["default"] else 1.0
    # Whole steps for integers; for floats a tenth of the default, rounded to one digit.
    step = 1 if kind is int else float(f"{abs(usual) / 10:.0e}")
    return st.number_input(
        label, min_value=low, max_value=high, value=start, step=step,
        help=_help(parameter), key=key, format=None if kind is int else "%g",
    )


def _help(parameter: Mapping[str, Any]) -> str:
    """The parameter's help as a sentence."""
    text = plain(parameter["help"])
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _option(value: Any) -> str:
    return "not set" if value is None else str(value).replace("_", " ")
