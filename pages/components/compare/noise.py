"""Is a difference more than noise? Accuracies with intervals, and a test against the fused network."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from ..run import progress
from ..run.reports import interval_text
from ..shared.tables import table
from ..shared.text import percent, plain
from .compared import Compared


def draw(shown: Compared, mix: bool) -> None:
    """A sentence for each difference that matters, and the table behind it."""
    found = shown.beside(mix)
    rows = found["rows"]
    if not any(row["interval"] for row in rows):
        return
    base = rows[0]
    labels = {(n.run, n.key): n.label for n in shown.networks()}
    names = [labels.get((row["run"], row["key"]), row["network"]) for row in rows]
    st.header("More than noise?", anchor=False)
    sentences = []
    best = shown.best_parent()
    for row, name in zip(rows[1:], names[1:], strict=True):
        if row["p"] is not None and (row["key"] in (best, "softmax_ensemble") or row["key"] == "fused"):
            sentences.append(_sentence(row, name, names[0]))
    st.markdown("  \n".join(sentences) or "No difference was tested.")
    for note in found["notes"]:
        st.caption(f":material/info: {plain(note[:1].upper() + note[1:])}.")
    tests = list(dict.fromkeys(row["test"] for row in rows if row["test"]))
    table(
        [{
            "Network": name, "Accuracy": percent(row["accuracy"], 2),
            "95 % interval": interval_text(row["interval"])[2:-1], "Samples": row["samples"],
            "Against the first": _points(row["difference"]), "p": p_text(row["p"]),
            "Difference": "–" if row is base else row["said"] or "not tested",
        } for row, name in zip(rows, names, strict=True)],
        alt="Accuracies with 95 % intervals, and their differences to the first network with a test",
    )
    how = f"p: {' or '.join(tests)}, two-sided, of the difference to the first; " if tests else ""
    st.caption(
        f"Intervals: Wilson, 95 %. {how}from 0.05 on it is called noise. Each test is by itself: of twenty "
        "differences that are none, one is expected to look like one."
    )
    _measure_again(shown)


def _sentence(row: Mapping[str, Any], name: str, first: str) -> str:
    size = f"{abs(100 * row['difference']):.2f} points"
    if row["said"] == "within noise":
        both = f"**{plain(name)}** and {plain(first)}"
        return f":material/drag_handle: {both} differ by {size}: **within noise** ({_why(row)})."
    icon = ":material/trending_up:" if row["said"] == "better" else ":material/trending_down:"
    return f"{icon} **{plain(name)}** is {size} **{row['said']}** than {plain(first)}: more than noise ({_why(row)})."


def _why(row: Mapping[str, Any]) -> str:
    return f"{row['test']}, p = {p_text(row['p'])}"


def p_text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}" if value > 0 else "0"


def _points(difference: float | None) -> str:
    if difference is None:
        return "–"
    return "0.00 points" if abs(difference) < 5e-5 else f"{100 * difference:+.2f} points"


def _measure_again(shown: Compared) -> None:
    """Runs of earlier versions keep no answers: a button that has them measured."""
    for run in shown.runs:
        test = shown.jobs[run]["arguments"].get("test")
        if not test or "fused" not in shown.reports[run] or shown.answers(run) is not None:
            continue
        asked: set[str] = st.session_state.setdefault("measured-again", set())
        if run not in asked:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"No answers to single samples are kept of {plain(shown.names[run])}.", width="content")
                pressed = progress.pressed("Measure it again", f"measure-{run}", icon=":material/refresh:")
            if pressed:
                asked.add(run)
                st.rerun()
            continue
        again = progress.remembered("evaluate", {"run": run, "data": test})
        if again and progress.follow(again, f"Measuring {shown.names[run]}", retry=partial(progress.try_again, again)):
            st.caption("It was measured again, but its answers are too many to be kept, or not to single samples.")
