"""Learn: fusion in chapters, from two tiny networks in the plane to a digit drawn by hand."""

import contextlib
from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.teaching.shipped_lessons import PROBLEMS, shipped_lesson
from pages.components.lesson import digit_view
from pages.components.lesson.chapters import CHAPTERS, KEYS, WORDS, Chapter
from pages.components.lesson.component import lesson_picture
from pages.components.run import progress
from pages.components.shared import glossary, router, state
from pages.components.shared.page_frame import job_of
from pages.components.shared.tables import folded_table

OWN = "own"
DRAWN = 3  # classes that can be drawn
RECIPES = {
    "average": "Averaged as they are", "pairs": "Pairs, averaged", "kmeans_uniform": "k-means, averaged",
    "kmeans": "k-means with importance, averaged", "pairs_solved": "Pairs, solved",
    "kmeans_solved": "k-means with importance, solved",
}


def go(chapter: str) -> None:
    """To another chapter; what its control said is not what that of another says."""
    if chapter != state.get("chapter"):
        state.put(chapter=chapter, at=None)


def choose_chapter(chapter: str) -> None:
    names = {each.key: f"{number} {each.short}" for number, each in enumerate(CHAPTERS, 1)} | {WORDS: "Words"}
    st.session_state["chapters"] = chapter
    st.segmented_control(
        "Chapter", list(names), format_func=names.get, key="chapters", required=True, label_visibility="collapsed",
        on_change=lambda: go(st.session_state["chapters"]),
    )


def choose_problem() -> str:
    """Which points: a problem that comes with the program, or the run that trained on drawn ones."""
    drawn = state.get("drawn")
    options = [*PROBLEMS, *([OWN] if drawn else [])]
    chosen = state.choice("problem", options, OWN if drawn else "")
    st.selectbox(
        "Points to learn from", options, format_func=lambda name: PROBLEMS.get(name, "Your own points"), width=260,
        **state.bound("problem", "problem-choice", chosen),
    )
    return chosen


def lesson_of(problem: str) -> Mapping[str, Any] | None:
    """What is to be shown; None while the networks of drawn points are being trained."""
    if problem != OWN:
        return shipped_lesson(problem)
    run = state.get("drawn")
    points = job_of(run, "lesson")["arguments"].get("points")
    if not progress.follow(run, "Training four networks on your points", cancel=True):
        if state.get("chapter") == OWN and client.status(run)["state"] in client.FINISHED:
            lesson_picture(drawn_again(points), OWN, "", done)
        return None
    result: Mapping[str, Any] = store.read_result(run)
    return result


def drawn_again(points: Any) -> Mapping[str, Any]:
    """A lesson whose drawing area holds these points: those of a training that came to nothing are to be mended."""
    train: dict[str, list[Any]] = {"x": [], "y": []}
    for point in points if isinstance(points, list) else []:
        with contextlib.suppress(TypeError, ValueError):  # no point at all, which may be why it failed
            x, y, kind = map(float, point)
            if kind in range(DRAWN):
                train["x"].append([x, y])
                train["y"].append(int(kind))
    return {**shipped_lesson(next(iter(PROBLEMS))), "problem": "drawn", "train": train}


def done(what: dict[str, Any]) -> None:
    """What the reader did in the picture."""
    if what.get("event") == "at" and what.get("chapter") == state.get("chapter", KEYS[0]):
        state.put(at=str(what.get("at", ""))[:64])
        return
    if what.get("event") != "train" or not isinstance(what.get("points"), list):
        return
    if run := progress.submit("lesson", {"points": what["points"]}):
        state.put(drawn=run, problem=OWN)


def ask(chapter: Chapter) -> None:
    """The chapter's question, and its answer once something is chosen."""
    with st.container(border=True, key="question"):
        chosen = st.radio(f"**{chapter.question}**", chapter.options, index=None, key=f"answer-{chapter.key}")
        if chosen is not None:
            right, answer = chapter.options[chapter.right], glossary.bare(chapter.answer)
            if chosen == right:
                st.success(f"Yes. {answer}", icon=":material/check_circle:")
            else:
                st.info(f"Not quite. {right}. {answer}", icon=":material/lightbulb:")


def turn(chapter: Chapter) -> None:
    """To the chapters before and after."""
    number = KEYS.index(chapter.key)
    with st.container(horizontal=True, gap="small"):
        if number:
            st.button(
                "Back", icon=":material/arrow_back:", key="chapter-back", on_click=go, args=(KEYS[number - 1],)
            )
        if number + 1 < len(KEYS):
            st.button(
                f"Next: {CHAPTERS[number + 1].short}", icon=":material/arrow_forward:", key="chapter-next",
                type="primary", on_click=go, args=(KEYS[number + 1],),
            )


def draw_table(lesson: Mapping[str, Any]) -> None:
    rows = [
        {"Network": f"Parent {'ABCD'[number]}", "Parents": 1, "Accuracy %": round(100 * parent["accuracy"], 1),
         "Loss (nats)": round(parent["loss"], 3)}
        for number, parent in enumerate(lesson["parents"])
    ]
    rows += [
        {"Network": title, "Parents": int(count), "Accuracy %": round(100 * found[recipe]["accuracy"], 1),
         "Loss (nats)": round(found[recipe]["loss"], 3)}
        for count, found in lesson["fused"].items() for recipe, title in RECIPES.items()
    ]  # fmt: skip
    folded_table(rows, alt="Accuracy and loss of the parents and of every fused network, as the engine measured them")
    way = lesson["path"]
    judged = f"{len(lesson['test']['y'])} fresh points" if lesson["fresh"] else "the points they were trained on"
    st.caption(
        f"Measured by the engine on {judged}: barrier {way['as_is']['barrier']:.2f} nats as they are, "
        f"{way['aligned']['barrier']:.2f} matched. The pictures are computed in your browser."
    )


router.enter()
chapter_key = state.choice("chapter", (*KEYS, WORDS))
choose_chapter(chapter_key)
if chapter_key == WORDS:
    st.title("Words", anchor=False)
    st.html('<p class="lead">What the pages mean by their words. On other pages they have a dotted line.</p>')
    st.html(glossary.listed())
    st.stop()
chapter = CHAPTERS[KEYS.index(chapter_key)]
picture, words = st.columns([13, 7], gap="large")
with words:
    st.title(chapter.title, anchor=False)
    st.html(f'<p class="lead">{glossary.marked(chapter.lead)}</p>')
    ask(chapter)
    turn(chapter)
    problem = choose_problem() if chapter.key != "digit" else ""
with picture:
    if chapter.key == "digit":
        digit_view.draw()
    elif (lesson := lesson_of(problem)) is not None:
        lesson_picture(lesson, chapter.key, state.get("at"), done)
        if chapter.key != OWN or problem == OWN:
            draw_table(lesson)
