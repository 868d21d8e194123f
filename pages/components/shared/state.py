"""What is being looked at lives in the URL, so that a reload, a bookmark or a second browser shows the same.

Moving between pages drops a URL's parameters; the session remembers them and puts them back.
"""

from collections.abc import Callable, Iterable
from typing import Any

import streamlit as st

# A name means one thing on all pages that have it: what it says on one is restored on the others.
EVERYWHERE = ("parents", "data", "test", "run", "seed", "levels", "present", "tour")
_SELECTED = ("neuron", "neurons", "group")
_DEPENDENT = {
    "parents": ("levels", "base", "without", "on", "fusion", "analysis", "search", "trial", "ranges", "pair", "edits",
                "again", "holding", *_SELECTED),
    "space": (*_SELECTED, "holding"),
    "search": ("trial", "ranges"),
    **dict.fromkeys(("runs", "left", "right", "show", "class"), ("part",)),
}
BY_PAGE = {
    "start": ("demo",),
    "parents": ("import", "load"),
    "explore": ("source", "importance", "grouping", "explore", "space", *_SELECTED, "view", "colour", "hidden", "umap",
                "near", "section", "edits", "again", "map", "beside", "only", "holding"),
    "tune": ("recipe", "draft", "tune", "trials", "minutes", "samples", "held", "search", "trial", "ranges", "base",
             "loading"),
    "share": ("sharing", "without", "weights", "dataset"),
    "fuse": ("recipe", "draft", "kind", "samples", "device", "job", "base", "loading"),
    "leaderboard": ("board", "entry", "opening", "presets", "importances", "seeds", "samples", "base", "loading"),
    "compare": ("runs", "mix", "finding", "find", "tag", "made", "of", "filter", "closer", "left", "right", "show",
                "class", "part", "budget", "went", "gone"),
    "learn": ("chapter", "at", "problem", "drawn"),
    "difference": ("difference", "first", "second", "features", "pairing", "by"),
    "analyse": ("analysis", "fusion", "on", "take", "align", "pair", "measure"),
}


def restore(page: str) -> None:
    """Make URL and session agree on the parameters of `page`; the URL wins."""
    known = EVERYWHERE + BY_PAGE.get(page, ())
    memory = _memory()
    memory.update({key: st.query_params[key] for key in known if key in st.query_params})
    _write({key: memory[key] for key in known if key in memory and key not in st.query_params})


def get(key: str, default: str = "") -> str:
    return str(st.query_params.get(key, default))


def choice(key: str, options: Iterable[str], default: str = "") -> str:
    """A parameter that is one of `options`; where it is not, `default`, or the first of them."""
    listed = list(options)
    return next(value for value in (get(key, default), default, listed[0]) if value in listed)


def number(key: str, default: int) -> int:
    """A parameter that is a natural number; `default` where it is missing or something else."""
    value = get(key)
    return int(value) if value.isdecimal() and len(value) < 10 else default


def presenting() -> bool:
    """Whether the page is shown to a room: large type, strong contrast, nothing that only experts need."""
    return get("present") == "1"


def put(**values: str | int | None) -> None:
    """Set parameters; None removes one."""
    given = {key: str(value) for key, value in values.items() if value is not None}
    changed = {key: value for key, value in given.items() if st.query_params.get(key) != value}
    dependent = {below for key in changed for below in _DEPENDENT.get(key, ())} - given.keys()
    forget(*dependent, *(values.keys() - given.keys()))
    _memory().update(given)
    _write(changed)


def bound(key: str, widget: str, value: Any, write: Callable[[Any], Any] = lambda chosen: chosen) -> dict[str, Any]:
    """`key` and `on_change` of a widget that shows `value` and writes what is chosen to the URL as `key`.

    The URL decides what is shown: it may have changed by a link since the widget was last drawn.
    """
    st.session_state[widget] = value
    return {"key": widget, "on_change": lambda: put(**{key: write(st.session_state[widget])})}


def forget(*keys: str) -> None:
    """Remove parameters from the URL and from the session's memory."""
    for key in keys:
        _memory().pop(key, None)
        if key in st.query_params:
            del st.query_params[key]


def clear() -> None:
    """Forget everything: the way out of an address that refers to what is no longer there."""
    _memory().clear()
    st.query_params.clear()


def _write(parameters: dict[str, str]) -> None:
    """Put parameters into the address in one go: every write is a message to the browser."""
    if parameters:
        st.query_params.update(parameters)


def _memory() -> dict[str, str]:
    memory: dict[str, str] = st.session_state.setdefault("url", {})
    return memory
