"""From the best parent to the fused network: what joining the parents gains, and what each level loses."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from fusion_engine import store

from ..analysis.analysis_view import points
from ..run import progress, reports
from ..shared import state
from ..shared.page_frame import job_of, told
from ..shared.tables import table
from ..shared.text import count, distinct, escaped, percent, plain
from ..shared.theme import BLUE, FAINT, GREEN, INK, SKY, VERMILION, figure, hatched, show
from .compared import Compared

MOST = 5000  # samples that a budget is measured on
FEWEST = 6  # samples that one network must get right beyond the other for McNemar's p to be under 0.05
_BARS = 26
_JOINING = "Joining answers"


def steps(budget: Mapping[str, Any], best: float | None) -> list[tuple[str, float, str]]:
    """(name, points or height in shares, kind) of each bar: the best parent where it is known, what joining answers
    gains, the ensemble, what each level loses, the fused network. kind: 'total' or 'step'. The steps add up to
    the difference of the totals around them."""
    ensemble = budget["ensemble"]["accuracy"]
    after = [ensemble, *(level["fused"]["accuracy"] for level in budget["levels"])]
    bars: list[tuple[str, float, str]] = []
    if best is not None:
        bars += [("Best parent", best, "total"), (_JOINING, ensemble - best, "step")]
    bars.append(("Ensemble", ensemble, "total"))
    names = distinct((level["name"] for level in budget["levels"]), 24)
    bars += [(name, b - a, "step") for name, (a, b) in zip(names, pairwise(after), strict=True)]
    return [*bars, ("Fused", after[-1], "total")]


def draw(shown: Compared) -> None:
    run = chosen_run(shown)
    arguments = shown.jobs[run]["arguments"]
    if not arguments.get("test"):
        st.info("An error budget is measured on labelled test data, which this run had none of.")
        return
    wanted = {
        "parents": arguments["parents"], "data": arguments["test"], "run": run, "what": ["budget"], "samples": MOST,
        "seed": 0,
    }
    if state.get("budget"):
        with told():
            job_of(state.get("budget"), "analyse")
    made = _made(run, wanted)
    if made is None:
        st.markdown(
            "Level by level, the parents go on by themselves from the fused network's features: what that costs more "
            "than one level before is the level's loss."
        )
        pressed = progress.pressed("Measure the error budget", f"budget-{run}", icon=":material/waterfall_chart:")
        if pressed and (job := progress.submit("analyse", wanted)):
            state.put(budget=job)
            st.rerun()
        return
    if not progress.follow(made, "Measuring the error budget", retry=lambda: state.forget("budget")):
        return
    result = store.read_result(made)
    best = reports.best_parent(shown.reports[run])
    whole = (shown.reports[run].get("test") or {}).get("samples") == result["samples"]
    _show(steps(result["budget"], best if whole else None), result, run)


def chosen_run(shown: Compared) -> str:
    if len(shown.runs) == 1:
        return shown.first
    current = state.choice("went", shown.runs)
    st.selectbox("Run", shown.runs, format_func=lambda run: shown.names[run], width=480,
                 **state.bound("went", "compare-went", current))
    return current


def _made(run: str, wanted: Mapping[str, Any]) -> str | None:
    """The job of the address if it is of this run; else the newest done one that has what is wanted."""
    same = ("run", "data")
    jobs = [j for j in store.list_runs("analyse") if all(j["arguments"].get(key) == wanted[key] for key in same)]
    jobs = [j for j in jobs if "budget" in (j["arguments"].get("what") or ["budget"])]
    asked = [j["id"] for j in jobs if j["id"] == state.get("budget")]
    done = [j["id"] for j in jobs if j["state"] == "done" and (j["arguments"].get("samples") or MOST) >= MOST]
    return next(iter([*asked, *done]), None)


def picture(bars: list[tuple[str, float, str]]) -> go.Figure:
    """Bars from the best parent to the fused network; the axis begins below the lowest of them."""
    heights, ends, at = [], [], 0.0
    for _, value, kind in bars:
        start = 0.0 if kind == "total" else at
        at = value if kind == "total" else at + value
        heights.append((100 * start, 100 * at))
        ends.append(100 * at)
    lowest = min(min(pair) if kind == "step" else pair[1] for pair, (_, _, kind) in zip(heights, bars, strict=True))
    spread = max(ends) - lowest
    floor = max(0.0, lowest - max(0.35 * spread, 1.0))
    colours = {"Best parent": SKY, "Ensemble": GREEN, "Fused": BLUE}
    chart = figure(400, legend=False, bargap=0.3)
    # Totals and losses are told by more than their colour: by names, signs and hatching.
    for (name, value, kind), (low, high), number in zip(bars, heights, range(len(bars)), strict=True):
        total = kind == "total"
        base, top = (floor, high) if total else (min(low, high), max(low, high))
        text = percent(value) if total else f"{100 * value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")
        chart.add_bar(
            x=[number], base=[base], y=[top - base], showlegend=False,
            marker={"color": colours[name] if total else GREEN if value >= 0 else VERMILION,
                    "pattern": hatched("" if total or value < 0 else "/")},
            hovertemplate=f"{escaped(name)}: {percent(value, 2) if total else points(value)}<extra></extra>",
        )
        chart.add_scatter(
            x=[number], y=[top], mode="text", text=[f"<b>{text}</b>" if total else text], textposition="top center",
            hoverinfo="skip", textfont={"color": INK, "size": 13}, cliponaxis=False,
        )
    chart.add_scatter(  # from each bar to the next
        x=[x for n in range(len(bars) - 1) for x in (n, n + 1, None)],
        y=[y for end in ends[:-1] for y in (end, end, None)], mode="lines", hoverinfo="skip",
        line={"color": FAINT, "width": 1, "dash": "dot"},
    )
    chart.update_xaxes(
        zeroline=False, showgrid=False, tickvals=list(range(len(bars))),
        ticktext=[escaped(name) for name, _, _ in bars],
        tickangle=0 if len(bars) <= 8 else -45,
    )
    top = max(ends) + 0.16 * max(spread, 1.0)
    return chart.update_yaxes(title_text="Accuracy", ticksuffix=" %", range=[floor, top])


def folded(bars: list[tuple[str, float, str]]) -> list[tuple[str, float, str]]:
    """At most `_BARS` bars: the steps of the least size between two others are joined with their neighbours."""
    bars = list(bars)
    while len(bars) > _BARS:
        pairs = [i for i in range(len(bars) - 1) if bars[i][2] == bars[i + 1][2] == "step"]
        at = min(pairs, key=lambda i: abs(bars[i][1]) + abs(bars[i + 1][1]))
        first, last = bars[at][0].split(" … ")[0], bars[at + 1][0].split(" … ")[-1]
        bars[at : at + 2] = [(f"{first} … {last}", bars[at][1] + bars[at + 1][1], "step")]
    return bars


def _show(bars: list[tuple[str, float, str]], result: Mapping[str, Any], run: str) -> None:
    drawn = folded(bars)
    chart = picture(drawn)
    cut = "; the axis does not begin at 0" if chart.layout.yaxis.range[0] > 0 else ""
    show(
        chart, "Waterfall: from the best parent over the ensemble to the fused network, what each level loses",
        f"waterfall-{run}",
    )
    losses = [(value, name) for name, value, kind in bars if kind == "step" and value < 0 and name != _JOINING]
    if losses:
        worst, name = min(losses)
        st.markdown(f"The largest loss is at level **{plain(name)}**: {points(-worst)}.")
    samples = result["samples"]
    few = len(bars) - len(drawn)
    joined = f" {count(few, 'small step')} drawn together with others; the table has all." if few else ""
    st.caption(
        f"Measured on {count(samples, 'sample')}{cut}. The ensemble is the recipe's (head "
        f"weights: {plain(result['budget']['head_weights'])}). A level's step is the change of accuracy when the "
        "parents go on from the fused network's features after this level instead of the one before. Steps of fewer "
        f"than {FEWEST} samples ({points(FEWEST / max(samples, 1))}) are within noise: so few cannot make McNemar's "
        f"test say otherwise.{joined}"
    )
    before = [result["budget"]["ensemble"]["accuracy"], *(v["fused"]["accuracy"] for v in result["budget"]["levels"])]
    table(
        [{
            "Level": level["name"], "Step": points(b - a),
            "Noise": "within noise" if abs(b - a) * samples < FEWEST - 0.5 else "not tested",
            "Accuracy after it": percent(b, 2),
            "Grouping loss up to it": points(level["grouping_loss"]),
            "Approximation loss up to it": points(level["approximation_loss"]),
        } for level, (a, b) in zip(result["budget"]["levels"], pairwise(before), strict=True)],
        alt="What each level loses, and the parts of the loss up to it",
    )
    for note in result["notes"]:
        st.caption(plain(note))
