"""What a search is to change, and its budget. All of it is in the address."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine.core.errors import RecipeError
from fusion_engine.tuning.space import Dimension, chosen, dimensions, parse_dimension

from ..inputs.pickers import BUILT_IN, data_name
from ..inputs.sample_number import samples_input
from ..shared import state
from ..shared.text import plain
from .axes import option

_TRIALS, _MOST_TRIALS = 30, 1000
_SAMPLES = 400


def search_form(recipe: Mapping[str, Any], methods: Any, stored: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments of the job but for parents, data, test and recipe; None while nothing can be searched. stored: names of
    the data sets that could be held out."""
    known = {dimension.path: dimension for dimension in dimensions(recipe, methods)}
    if not known:
        st.info("The methods of this recipe have nothing to search.", icon=":material/info:")
        return None
    given = _given(known)
    names = {path: f"{dimension.label} · {path}" for path, dimension in known.items()}
    picked = st.multiselect(
        "Parameters to search", list(known), format_func=names.__getitem__, placeholder="Choose parameters",
        help="What the methods of the recipe declare. The first trial is the recipe as it stands.",
        **state.bound("tune", "tune-paths", list(given), lambda paths: _written({p: given.get(p, {}) for p in paths})),
    )
    wanted: dict[str, dict[str, Any]] = {}
    for path in picked:
        wanted[path] = _range(known[path], given.get(path, {}))
    if wanted != {path: given.get(path, {}) for path in picked}:
        state.put(tune=_written(wanted))
    budget = _budget()
    held = _held_out(stored)
    try:
        chosen(recipe, methods, wanted)
    except RecipeError as error:
        st.warning(plain(error), icon=":material/block:")
        return None
    return {"dimensions": wanted, "held_out": held, **budget}


def _given(known: Mapping[str, Dimension]) -> dict[str, dict[str, Any]]:
    """What the address asks for, of what there is: else all but what is for experts."""
    found = {}
    for text in filter(None, state.get("tune").split(";")):
        try:
            path, about = parse_dimension(text)
        except RecipeError:
            continue
        if path in known:
            found[path] = about
    return found or {path: {} for path, dimension in known.items() if not dimension.expert}


def _written(wanted: Mapping[str, Mapping[str, Any]]) -> str:
    """As the command line has it, with semicolons between."""
    parts = []
    for path, about in wanted.items():
        if about.get("choices") is not None:
            words = {True: "true", False: "false"}
            parts.append(f"{path}=" + ",".join(words[c] if isinstance(c, bool) else str(c) for c in about["choices"]))
        elif "low" in about:
            parts.append(f"{path}={about['low']:g}:{about['high']:g}")
        else:
            parts.append(path)
    return ";".join(parts)


def _range(dimension: Dimension, about: Mapping[str, Any]) -> dict[str, Any]:
    """Fields for where it is looked for; {} where that is as declared."""
    key = f"tune-{dimension.path}"
    title, fields = st.columns([2, 5], vertical_alignment="center")
    now = "not set" if dimension.start is None else option(dimension.start)
    title.markdown(f"**{plain(dimension.label)}**  \n:gray[now {plain(now)}]", help=plain(dimension.help) or None)
    if dimension.kind == "choice":
        offered = [c for c in about.get("choices") or dimension.choices if c in dimension.choices]
        picked = fields.multiselect(
            "Choices", list(dimension.choices), default=offered, format_func=option, key=key,
            label_visibility="collapsed", placeholder="Choose some",
        )
        return {} if list(picked) == list(dimension.choices) or not picked else {"choices": list(picked)}
    low, high, note = fields.columns([2, 2, 2], vertical_alignment="bottom")
    kind = int if dimension.kind == "int" else float
    ends = []
    for place, name, label in ((low, "low", "From"), (high, "high", "To")):
        start = kind(about.get(name, getattr(dimension, name)))
        ends.append(place.number_input(
            f"{label} ({dimension.path})", value=start, key=f"{key}-{name}", format=None if kind is int else "%g",
            step=1 if kind is int else max(1e-12, abs(float(start)) / 10),
        ))
    log = ends[0] > 0 and ends[1] / ends[0] >= 100
    note.caption("by orders of magnitude" if log else "evenly")
    if (ends[0], ends[1]) == (kind(dimension.low), kind(dimension.high)):
        return {}
    return {"low": ends[0], "high": ends[1]}


def _budget() -> dict[str, Any]:
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    trials = first.number_input(
        "Trials", min_value=1, max_value=_MOST_TRIALS, step=5,
        help="Fusions at most, the recipe as it stands among them.",
        **state.bound("trials", "tune-trials", min(_MOST_TRIALS, max(1, state.number("trials", _TRIALS)))),
    )
    minutes = second.number_input(
        "Minutes at most", min_value=0, max_value=7 * 24 * 60, step=5,
        help="0: no limit. Time of the trials themselves.",
        **state.bound("minutes", "tune-minutes", min(7 * 24 * 60, state.number("minutes", 0)), lambda m: m or None),
    )
    samples = samples_input(third, state.get("data"), _SAMPLES)
    seed = fourth.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, step=1,
        help="Of the fusions and of the search: the same trials again.",
        **state.bound("seed", "tune-seed", min(state.number("seed", 0), 2**31 - 1)),
    )
    return {"trials": int(trials), "seconds": 60 * int(minutes) or None, "samples": samples, "seed": int(seed)}


def _held_out(stored: Mapping[str, str]) -> str | None:
    """The data that judges the trials; None for a quarter of the calibration data."""
    test, data = state.get("test"), state.get("data")
    names = {"": "A quarter of the calibration samples"}
    names |= {name: data_name(name) for name in (*BUILT_IN, *stored) if name not in (test, data)}
    current = state.choice("held", names, "")
    held = st.selectbox(
        "Judge trials by the loss on", list(names), format_func=names.__getitem__,
        help="Samples that no fusion looks at. The test data is never among them: its figures stand beside, and choose "
        "nothing.",
        **state.bound("held", "tune-held", current, lambda chosen: chosen or None),
    )
    return held or None

