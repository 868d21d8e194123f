"""The results of an analysis: error budget, class coverage, paths between networks, similarity of features."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import streamlit as st

from ..run import charts
from ..run.reports import Model
from ..shared import glossary, state
from ..shared.tables import folded_table, table
from ..shared.text import count, distinct, join, percent, plain, seconds
from ..shared.theme import show
from . import analysis_charts

_FIT = 70  # letters that fit beside each other where the page is narrow


def draw(result: Mapping[str, Any], run: str) -> None:
    """Everything that was analysed, the most telling first."""
    names = distinct(result["parents"])
    st.caption(
        f"Measured on {count(result['samples'], 'sample')} in {seconds(result['seconds']['total'])}. "
        + " ".join(plain(note) + "." for note in result["notes"])
    )
    if "budget" in result:
        _budget(result["budget"], run)
    if "coverage" in result:
        _coverage(result["coverage"], names, run)
    if "connectivity" in result and result["connectivity"]["pairs"]:
        _connectivity(result["connectivity"], run)
    if "similarity" in result and result["similarity"]["spaces"]:
        _similarity(result["similarity"]["spaces"], names, run)


def points(share: float) -> str:
    """0.013 -> '1.3 points'; without the sign of a zero."""
    return f"{100 * share:.1f} points".replace("-0.0", "0.0")


def _budget(budget: Mapping[str, Any], run: str) -> None:
    st.header("Where accuracy is lost", anchor=False, help=glossary.meaning("error budget"))
    levels, ensemble, fused = budget["levels"], budget["ensemble"]["accuracy"], budget["fused"]["accuracy"]
    chart, text = st.columns([5, 3], gap="large")
    with chart:
        show(
            analysis_charts.budget_chart(budget),
            "Lines: accuracy of the ensemble, of merged features and of the fused network's features, level by level",
            f"budget-{run}",
        )
    with text:
        first, second = st.columns(2)
        first.metric("Ensemble", percent(ensemble))
        second.metric("Fused network", percent(fused), f"{100 * (fused - ensemble):+.1f} points")
        before = [ensemble, *(level["fused"]["accuracy"] for level in levels)]
        drops = [a - b for a, b in pairwise(before)]
        worst = max(range(len(drops)), key=drops.__getitem__)
        grouped = max(levels, key=lambda level: level["grouping_loss"])
        lines = []
        if drops[worst] > 0:
            lines.append(f"The largest step down is level **{plain(levels[worst]['name'])}**: {points(drops[worst])}.")
        if grouped["grouping_loss"] > 0:
            lines.append(
                f"Describing all parents by the fused neurons costs most after **{plain(grouped['name'])}**: "
                f"{points(grouped['grouping_loss'])} of grouping loss."
            )
        st.markdown("  \n".join(lines) or "Nothing is lost.")
        st.caption(
            "After each level the parents go on by themselves, and their answers are joined: from their own features "
            "(ensemble), from their features merged into the groups and taken apart again (the orange area is the "
            "grouping loss), and from the features of the fused network (the blue area is the approximation loss). "
            "At the last level these are the ensemble and the fused network."
        )
    folded_table(
        [{
            "After level": level["name"], "Ensemble": percent(ensemble, 2),
            "Merged features": percent(level["grouped"]["accuracy"], 2),
            "Fused features": percent(level["fused"]["accuracy"], 2), "Grouping loss": points(level["grouping_loss"]),
            "Approximation loss": points(level["approximation_loss"]),
        } for level in levels],
        alt="Accuracy of the ensemble, of merged and of fused features after each level",
    )


def _coverage(found: Mapping[str, Any], names: Sequence[str], run: str) -> None:
    st.header("What each parent knows", anchor=False)
    rows = [
        Model(name, "parent", parent["accuracy"], None, parent["per_class"])
        for name, parent in zip(names, found["parents"], strict=True)
    ]
    fused = found["fused"]
    if fused is not None:
        rows.append(Model("Fused", "fused", fused["accuracy"], None, fused["per_class"]))
    show(charts.class_heatmap(rows), "Heat map: accuracy per class, one row a network", f"coverage-{run}")
    lines = []
    for p, name in enumerate(names):
        only = [str(c) for c, who in enumerate(found["only"]) if who == p]
        if only and len(names) > 1:
            lines.append(f"Only **{plain(name)}** knows {_classes(only)}.")
    if found["unknown"]:
        lines.append(f"No parent knows {_classes([str(c) for c in found['unknown']])}.")
    if fused is not None:
        kept = [f"{percent(s)} of {plain(n)}" for s, n in zip(fused["kept"], names, strict=True)]
        lines.append(f"Of what the parents get right the fused network keeps {join(kept)}.")
    if lines:
        st.markdown(" ".join(lines))
    st.caption(f"A parent knows a class if it gets at least {percent(found['threshold'], 0)} of its samples right.")
    folded_table(_coverage_rows(found, names), alt="Accuracy of each class by network")


def _coverage_rows(found: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, str]]:
    rows = []
    for c, best in enumerate(found["best"]):
        row = {"Class": str(c)}
        for name, parent in zip(names, found["parents"], strict=True):
            row[name] = percent(parent["per_class"][c])
            if parent["class_counts"] is not None:
                row[f"{name}: trained on"] = f"{parent['class_counts'][c]:,}"
        row["Best"] = "–" if best is None else names[best]
        if found["fused"] is not None:
            row["Fused"] = percent(found["fused"]["per_class"][c])
            difference = found["fused"]["difference"][c]
            row["Against the best"] = "–" if difference is None else points(difference)
        rows.append(row)
    return rows


def _classes(which: Sequence[str]) -> str:
    return f"class {which[0]}" if len(which) == 1 else f"classes {join(which)}"


@st.fragment
def _connectivity(found: Mapping[str, Any], run: str) -> None:
    """A fragment: choosing another pair redraws no more than this."""
    st.header("Lines between networks", anchor=False, help=glossary.meaning("linear mode connectivity"))
    pairs = found["pairs"]
    labels = [f"{pair['first']} → {pair['second']}" for pair in pairs]
    chosen, quantity_column = st.columns([3, 2], vertical_alignment="bottom")
    number = min(state.number("pair", 0), len(pairs) - 1)
    chosen.selectbox(
        "Networks", range(len(pairs)), format_func=distinct(labels, 60).__getitem__,
        **state.bound("pair", "analyse-pair", number),
    )
    pair = pairs[number]
    quantity = quantity_column.segmented_control(
        "Show", ["accuracy", "loss"], default="accuracy", required=True, format_func=str.capitalize,
        key="analyse-quantity", label_visibility="collapsed",
    )
    chart, text = st.columns([5, 3], gap="large")
    with chart:
        show(
            analysis_charts.path_chart(pair, quantity),
            f"Lines: {quantity} on the way between two networks, as they are and aligned", f"path-{run}-{number}",
        )
    with text:
        _barriers(pair, found["align"])
    single, cumulative = st.columns(2, gap="large")
    for column, part, title in (
        (single, "single", "Averaging one level alone"), (cumulative, "cumulative", "Averaging all levels up to one")
    ):
        with column:
            st.subheader(title, anchor=False)
            show(
                analysis_charts.level_bars(pair, part),
                f"Bars: points of accuracy lost by {title.lower()}, as they are and aligned",
                f"levels-{run}-{number}-{part}",
            )
    st.caption(
        "Half-way between the two networks in these levels, the others as the first network has them; against the mean "
        "of the two networks. Negative: averaging helps."
    )
    with st.expander("As a table"):
        _path_tables(pair)


def _barriers(pair: Mapping[str, Any], align: str) -> None:
    before, after = pair["as_is"], pair["aligned"]
    columns = st.columns(2)
    columns[0].metric("Barrier as they are", f"{before['barrier']:.3f}", help=glossary.meaning("barrier"))
    columns[1].metric("Barrier aligned", f"{after['barrier']:.3f}")
    errors = (points(before["error_barrier"]), points(after["error_barrier"]))
    calibrated = " Batch norms were calibrated again at every point." if pair["recalibrated"] else ""
    st.markdown(f"In accuracy the barrier is {errors[0]} as they are and {errors[1]} aligned.")
    st.caption(
        "Every point is a network whose weights lie on the straight line between the two. A barrier is how far the "
        "loss rises above the line between the ends: without one, the weights can be averaged. Aligned: the second "
        f"network's neurons put in the order of the first's, as the grouping {plain(align)} pairs them.{calibrated}"
    )


def _path_tables(pair: Mapping[str, Any]) -> None:
    before, after = pair["as_is"], pair["aligned"]
    table(
        [{
            "Way": percent(alpha, 0),
            "Accuracy": percent(before["accuracy"][i], 2), "Loss": round(before["loss"][i], 4),
            "Accuracy, aligned": percent(after["accuracy"][i], 2), "Loss, aligned": round(after["loss"][i], 4),
        } for i, alpha in enumerate(before["alphas"])],
        alt="Accuracy and loss along the path",
    )
    table(
        [{
            "Level": level["name"], "Alone": points(level["single"]["error_barrier"]),
            "Alone, aligned": points(other["single"]["error_barrier"]),
            "Up to it": points(level["cumulative"]["error_barrier"]),
            "Up to it, aligned": points(other["cumulative"]["error_barrier"]),
        } for level, other in zip(before["levels"], after["levels"], strict=True)],
        alt="Points of accuracy lost by averaging levels",
    )


def _pair_labels(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[list[str], str]:
    """What columns of pairs are called: by names while these fit side by side, else by numbers; and what the numbers
    mean, as Markdown."""
    columns = [f"{names[p]} · {names[q]}" for p, q in pairs]
    if sum(map(len, columns)) <= _FIT:
        return columns, ""
    told = ", ".join(f"**{number}** {plain(name)}" for number, name in enumerate(names))
    return [f"{p} · {q}" for p, q in pairs], f" Numbers are parents: {told}."


@st.fragment
def _similarity(spaces: Sequence[Mapping[str, Any]], names: Sequence[str], run: str) -> None:
    """A fragment: choosing another measure redraws no more than this."""
    st.header("How alike their features are", anchor=False, help=glossary.meaning("CKA"))
    pairs = [(p, q) for p in range(len(names)) for q in range(p + 1, len(names))]
    measures = [m for m in analysis_charts.MEASURES if m in spaces[0]["measures"]]
    rows = [space["name"] for space in spaces]
    if len(pairs) == 1:
        columns = [analysis_charts.MEASURES[m] for m in measures]
        values = [[space["measures"][m][0][1] for m in measures] for space in spaces]
        note = f"{plain(names[0])} and {plain(names[1])}, space by space."
        key = "all"
    else:
        key = state.choice("measure", measures)
        st.segmented_control(
            "Measure", measures, format_func=analysis_charts.MEASURES.get, required=True,
            label_visibility="collapsed", **state.bound("measure", "analyse-measure", key),
        )
        columns, told = _pair_labels(names, pairs)
        values = [[space["measures"][key][p][q] for p, q in pairs] for space in spaces]
        note = f"Each pair of parents, space by space.{told}"
    show(
        analysis_charts.similarity_heatmap(rows, columns, values),
        "Heat map: similarity of the parents' features, one row a space", f"similarity-{run}-{key}",
    )
    few = [space for space in spaces if space["rows"] < 5 * max(space["sizes"])]
    warning = (
        " Canonical correlations are too high where samples are few against neurons: "
        f"{count(len(few), 'space')} here." if few else ""
    )
    partial = " Partial: with what both share with the other parents taken away." if len(names) > 2 else ""
    st.caption(
        f"{note} 1: the same up to a rotation (CKA) or any linear map (CCA). Distance correlations are near 0 for "
        f"independent features.{partial}{warning}"
    )
    folded_table(
        [{
            "Space": space["name"], "Parents": f"{names[p]} · {names[q]}",
            **{analysis_charts.MEASURES[m]: round(space["measures"][m][p][q], 4) for m in measures},
        } for space in spaces for p, q in pairs],
        alt="All measures of similarity by space and pair of parents",
    )
