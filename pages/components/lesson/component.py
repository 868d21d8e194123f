"""The live pictures as a Streamlit component: what goes to the browser, and what comes back.

The arithmetic is done in the browser (arithmetic.js), so that a picture follows a drag; networks, matchings, paths and
accuracies come from the engine.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


def source(*names: str) -> str:
    """The code of several files as one module."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


_mount = st.components.v2.component(
    "fusion_lesson", js=source("arithmetic.js", "drawing.js", "chapters.js"), css=source("lesson.css"),
    isolate_styles=False,
)


def lesson_picture(
    lesson: Mapping[str, Any], chapter: str, at: str, on_done: Callable[[dict[str, Any]], None], key: str = "lesson"
) -> None:
    """The picture of a chapter. at: what its control says at first. on_done is called with what the reader did:
    {"event": "at", "chapter", "at"}, or {"event": "train", "points"}."""

    def done() -> None:
        what = st.session_state[key].get("done")
        if isinstance(what, dict):
            on_done(what)

    shown = _shown(lesson)
    content = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]
    _mount(
        key=key, data={"content": content, "chapter": chapter, "at": at, "lesson": shown}, on_done_change=done,
    )  # fmt: skip


def _shown(lesson: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fused networks, which the browser computes, and the alignment's path."""
    fused = {
        count: {recipe: {"accuracy": found["accuracy"]} for recipe, found in by_recipe.items()}
        for count, by_recipe in lesson["fused"].items()
    }
    names = ("classes", "width", "fresh", "train", "test", "parents", "matched", "path")
    drawn = lesson["problem"] == "drawn"
    return {**{name: lesson[name] for name in names}, "fused": fused, "drawn": drawn}
