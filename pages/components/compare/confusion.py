"""Confusion matrices: what each network takes each class for, two networks beside each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fusion_engine.core.significance import wilson
from fusion_engine.store.described.beside import entry_of

from ..run.reports import interval_text
from ..shared import state
from ..shared.tables import table
from ..shared.text import count, escaped, percent
from ..shared.theme import FAINT, MUTED, add_cells, between, figure, show, writing_on
from .compared import Compared, Network, chosen

_SCALE = ((0.0, "#F7F9FB"), (0.02, "#FBE3D6"), (0.25, "#F0A56B"), (0.6, "#9CCBE6"), (1.0, "#0072B2"))
_WRITTEN, _CELL, _LISTED = 16, 26, 12


def matrix(shown: Compared, network: Network) -> np.ndarray:
    """(C, C) counts, [true, predicted]; (0, 0) where the report has none."""
    found = entry_of(shown.reports[network.run], network.key).get("confusion") or []
    return np.array(found, np.int64).reshape(len(found), len(found))


def draw(shown: Compared) -> None:
    networks = [n for n in shown.networks() if len(matrix(shown, n))]
    if not networks:
        st.info("There are no confusion matrices: nothing was measured, outputs are no classes, or of more than 1,000.")
        return
    left = chosen(networks, state.get("left"), "fused")
    right = chosen(networks, state.get("right"), shown.best_parent())
    both = [matrix(shown, network) for network in (left, right)]
    sides = zip(st.columns(2, gap="large"), ("left", "right"), (left, right), both, strict=True)
    for column, key, network, own in sides:
        with column:
            pick(networks, key, "Network", network)
            show(
                picture(own), f"Confusion matrix of {network.label}: what it takes each class for, in per cent of the "
                "class; the table says the same", f"confusion-{key}",
            )
    st.caption("Rows are true classes, columns what the network says; numbers are per cent of the class.")
    if both[0].shape == both[1].shape:
        _mistakes(both, (left.label, right.label))
    else:
        st.info(
            f"They tell different numbers of classes ({len(both[0])} and {len(both[1])}), so their mistakes are not "
            "listed beside each other."
        )
    with st.expander("As tables"):
        for network, own in zip((left, right), both, strict=True):
            st.markdown(f"**{escaped(network.label)}**")
            table(
                [{"Class": c, **{str(d): int(n) for d, n in enumerate(row)}} for c, row in enumerate(own)],
                alt=f"Counts by true class and by what {network.label} says",
            )


def pick(networks: Sequence[Network], key: str, label: str, current: Network) -> None:
    """A selector of networks; the choice goes to the address as `key`."""
    labels = {network.id: network.label for network in networks}
    st.selectbox(
        label, list(labels), format_func=labels.__getitem__, **state.bound(key, f"compare-{key}", current.id)
    )


def picture(counts: np.ndarray) -> go.Figure:
    """Per cent of each true class, (C, C); written in the cells while there is room, those above 0.5 %."""
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    share = 100 * counts / total
    classes = len(counts)
    names = [str(c) for c in range(classes)]
    cell = max(4, min(_CELL, 480 // classes))
    chart = figure(90 + cell * classes, legend=False)
    add_cells(
        chart, [[float(v) for v in row] for row in share], names, names, _SCALE, 100, None,
        colorbar={"ticksuffix": " %", "thickness": 10, "outlinewidth": 0, "tickfont": {"size": 12, "color": MUTED}},
        customdata=counts, hovertemplate="%{y} taken for %{x}: %{customdata:,} (%{z:.1f} %)<extra></extra>",
    )
    if classes <= _WRITTEN:
        cells = [(str(d), str(c), share[c, d]) for c in range(classes) for d in range(classes) if share[c, d] >= 0.5]
        chart.add_scatter(
            x=[c[0] for c in cells], y=[c[1] for c in cells], text=[f"{c[2]:.0f}" for c in cells], mode="text",
            hoverinfo="skip", showlegend=False,
            textfont={"size": 12, "color": [writing_on(between(_SCALE, c[2] / 100)) for c in cells]},
        )
    every = -(-classes // 25)
    chart.update_xaxes(title_text="Says", linecolor=FAINT, tickvals=names[::every])
    return chart.update_yaxes(title_text="True class", tickvals=names[::every])


def mistakes(both: Sequence[np.ndarray]) -> list[tuple[int, int, list[int]]]:
    """(true, said, counts by network) of the pairs of classes that are most often taken for each other."""
    wrong = [np.where(np.eye(len(own), dtype=bool), 0, own) for own in both]
    largest = np.maximum(*wrong)
    order = np.argsort(-largest, axis=None, kind="stable")[:_LISTED]
    places = [divmod(int(at), len(largest)) for at in order]
    return [(c, d, [int(own[c, d]) for own in wrong]) for c, d in places if largest[c, d]]


def _mistakes(both: Sequence[np.ndarray], names: Sequence[str]) -> None:
    found = mistakes(both)
    if not found:
        st.caption("Neither makes a mistake.")
        return
    labels = names if names[0] != names[1] else (names[0], f"{names[1]} (again)")
    st.markdown(f"**Most frequent mistakes** · {count(len(found), 'pair')} of classes")
    rows: list[dict[str, Any]] = []
    for c, d, counts in found:
        row: dict[str, Any] = {"True class": c, "Taken for": d}
        for name, own, number in zip(labels, both, counts, strict=True):
            total = int(own[c].sum())
            row[name] = f"{number} of {total}: {percent(number / max(total, 1))}{interval_text(wilson(number, total))}"
        rows.append(row)
    table(rows, alt="The most frequent mistakes of both networks, with 95 % intervals")
