"""Where each parent's neurons went: into groups with other parents', with their own parent's, alone, or into none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fusion_engine import store
from fusion_engine.core.errors import FusionError

from ..shared import state
from ..shared.space import load
from ..shared.tables import table
from ..shared.text import count, distinct, escaped, percent, short
from ..shared.theme import BLUE, GREEN, INK, MUTED, ORANGE, PARENTS, VERMILION, figure, hatched, show
from .compared import Compared
from .waterfall import chosen_run

KINDS = ("every", "some", "own", "alone", "none")
_TITLES = {
    "every": "with every parent", "some": "with some parents", "own": "with its own parent's only", "alone": "alone",
    "none": "in no group",
}
_COLOURS = {"every": GREEN, "some": BLUE, "own": ORANGE, "alone": VERMILION, "none": MUTED}
_HATCHES = {"every": "", "some": "/", "own": "x", "alone": ".", "none": "-"}
ALL = ""


def where_to(members: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """(K, 5) neurons of each parent by `KINDS`. members: (n, K) neurons of each parent in each group. sizes: of each
    parent. Of two parents, every other parent is every parent."""
    k = members.shape[1]
    parents, total = (members > 0).sum(1), members.sum(1)
    kind = np.select([total == 1, parents == 1, parents == k], [3, 2, 0], 1)
    found = np.zeros((k, len(KINDS)), np.int64)
    for group, row in zip(kind, members, strict=True):
        found[:, group] += row
    found[:, 4] = np.asarray(sizes) - members.sum(0)
    return found


def draw(shown: Compared) -> None:
    run = chosen_run(shown)
    try:
        explored = store.read_explore(run)
    except FusionError:
        st.info("This run keeps no groups of its neurons.")
        return
    spaces = explored["spaces"]
    if not spaces:
        st.info("This network has no spaces whose neurons could be grouped.")
        return
    names = distinct(explored["parents"], 28)
    flows = {space["name"]: where_to(load(run, space["index"])["group_members"], space["sizes"]) for space in spaces}
    options = [ALL, *flows]
    current = state.choice("gone", options)
    st.selectbox(
        "Space", options, width=480, format_func=lambda name: name or f"All {count(len(spaces), 'space')}",
        **state.bound("gone", "compare-space", current, lambda name: name or None),
    )
    total = flows[current] if current else sum(flows.values())
    kinds = [i for i in range(len(KINDS)) if total[:, i].any()]
    left, right = st.columns(2, gap="large")
    with left:
        alt = "Flow picture: neurons of each parent by the kind of group they went into; the table says the same"
        show(picture(total, names, kinds), alt, f"went-{run}")
    with right:
        chosen = {current: flows[current]} if current else flows
        show(
            by_space(chosen, kinds), "Bars: share of the neurons of each space by the kind of group they went into",
            f"went-spaces-{run}",
        )
        with st.expander("As a table"):
            table(
                [{"Space": name, "Parent": parent, **{_TITLES[KINDS[i]].capitalize(): int(row[i]) for i in kinds}}
                 for name, own in chosen.items() for parent, row in zip(names, own, strict=True)],
                alt="Neurons by space, parent and kind of group",
            )
    table(
        [{"Parent": name, **{_TITLES[KINDS[i]].capitalize(): _share(row, i) for i in kinds}}
         for name, row in zip(names, total, strict=True)],
        alt="Neurons of each parent by the kind of group they went into",
    )
    soft = sum(not space["hard"] for space in spaces)
    said = f" In {count(soft, 'space')} with soft groups a neuron counts where its largest weight is." if soft else ""
    st.caption(f"A group is one neuron of the fused network. Alone: the fused neuron is this one neuron's.{said}")


def _share(row: np.ndarray, kind: int) -> str:
    return f"{int(row[kind]):,} · {percent(row[kind] / max(int(row.sum()), 1), 0)}"


def picture(total: np.ndarray, names: Sequence[str], kinds: Sequence[int]) -> go.Figure:
    """A flow from each parent to each kind of group."""
    k = len(names)
    links = [(p, n, int(total[p, kind])) for p in range(k) for n, kind in enumerate(kinds) if total[p, kind]]
    chart = figure(max(300, 44 * k), legend=False, margin={"l": 8, "r": 8, "t": 10, "b": 10})
    chart.add_sankey(
        arrangement="snap", textfont={"size": 13, "color": INK, "shadow": "none"},
        node={
            "label": [escaped(short(name, 24)) for name in names] + [_TITLES[KINDS[i]] for i in kinds], "pad": 12,
            "thickness": 16, "line": {"width": 0},
            "color": [PARENTS[p % len(PARENTS)] for p in range(k)] + [_COLOURS[KINDS[i]] for i in kinds],
            "hovertemplate": "%{label}: %{value:,} neurons<extra></extra>",
        },
        link={
            "source": [p for p, _, _ in links], "target": [k + n for _, n, _ in links],
            "value": [v for _, _, v in links], "color": [_faint(_COLOURS[KINDS[kinds[n]]]) for _, n, _ in links],
            "hovertemplate": "%{source.label} → %{target.label}: %{value:,}<extra></extra>",
        },
    )
    return chart


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},.38)"


def by_space(flows: Mapping[str, np.ndarray], kinds: Sequence[int]) -> go.Figure:
    """One bar a space, all parents together, from input to output."""
    names = distinct(flows, 26)
    row = max(17, min(34, 900 // max(len(flows), 1)))
    chart = figure(96 + row * len(flows), barmode="stack", bargap=0.25)
    whole: Any = {name: max(int(own.sum()), 1) for name, own in flows.items()}
    for i in kinds:
        kind = KINDS[i]
        values = [100 * int(own[:, i].sum()) / whole[name] for name, own in flows.items()]
        counts = [int(own[:, i].sum()) for own in flows.values()]
        chart.add_bar(
            x=values, y=[escaped(name) for name in names], orientation="h", name=_TITLES[kind], customdata=counts,
            marker={"color": _COLOURS[kind], "pattern": hatched(_HATCHES[kind])},
            hovertemplate=f"%{{y}}, {_TITLES[kind]}: %{{customdata:,}} (%{{x:.0f}} %)<extra></extra>",
        )
    chart.update_xaxes(range=[0, 100], ticksuffix=" %", title_text="Neurons of all parents")
    return chart.update_yaxes(autorange="reversed", showgrid=False, type="category")
