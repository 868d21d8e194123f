"""The groups of a space as a table: what is wrong with each, filters, and a search by neuron."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from fusion_engine.core.errors import FusionError

from ..neurons import selection
from ..shared import state
from ..shared.space import SpaceView
from ..shared.tables import table
from ..shared.text import count, plain

_WORST = 10
_LONGEST = 600  # characters of a search, which is in the address


def cost(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n,) share of the space's importance x share of the group's variance lost: what each group costs."""
    whole = max(float(arrays["importance"].sum()), 1e-300)
    return np.asarray(arrays["group_importance"] / whole * arrays["group_error"])


def flags(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By what is said of a group, (n,) whether it is so. worst: of the ten that cost most."""
    members, lost = arrays["group_members"], cost(arrays)
    total, parents = members.sum(1), (members > 0).sum(1)
    worst = np.zeros(len(total), bool)
    worst[np.argsort(-lost, kind="stable")[:_WORST]] = True
    return {
        "worst": worst & (lost > 0), "mixed": parents > 1, "one parent": parents == 1,
        "several of one parent": (members > 1).any(1), "single neuron": total == 1, "empty": total == 0,
    }


def listed(arrays: Mapping[str, np.ndarray], wanted: Sequence[str], neurons: Sequence[int] | None = None) -> np.ndarray:
    """(m,) numbers of the groups of which all of `wanted` is said and, if `neurons` are given, that hold one of these;
    the costliest first, then the most important."""
    kept = np.ones(len(arrays["group_error"]), bool)
    said = flags(arrays)
    for name in wanted:
        kept &= said[name]
    if neurons is not None:
        kept &= np.isin(np.arange(len(kept)), arrays["group"][np.asarray(neurons, np.int64)])
    order = np.lexsort((-arrays["group_importance"], -cost(arrays)))
    return order[kept[order]]


def choose(view: SpaceView, groups: Sequence[int]) -> None:
    """Select the neurons of these groups; one group by itself is shown alone."""
    selection.put(view, np.flatnonzero(np.isin(view.arrays["group"], groups)))
    selection.isolate(view, groups[0] if len(groups) == 1 else None)


def draw(view: SpaceView) -> None:
    """Filters, search and the table; a chosen row selects the group's neurons."""
    arrays = view.arrays
    said = flags(arrays)
    shown = [name for name, which in said.items() if which.any()]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        wanted = st.pills(
            "Only groups that are", shown, selection_mode="multi",
            format_func=lambda name: f"{name} · {int(said[name].sum())}",
            help="Several narrow the list down. Worst: the ten that cost most, variance lost x share of importance.",
            **state.bound("only", "groups-wanted", [name for name in shown if name in state.get("only").split(",")],
                          lambda chosen: ",".join(chosen) or None),
        )
        text = st.text_input(
            "With these neurons", placeholder=f"{view.names[0]}:17", width=260, max_chars=_LONGEST,
            **state.bound(
                "holding", "groups-search", state.get("holding")[:_LONGEST], lambda typed: typed.strip() or None
            ),
        )
    neurons = None
    if text.strip():
        try:
            neurons = selection.read(view, text)
        except FusionError as error:
            st.error(plain(error), icon=":material/error:")
    found = listed(arrays, wanted, neurons)
    if not len(found):
        st.caption("No group is so.")
        return
    _table(view, found, said)
    st.caption(
        f"{count(len(found), 'group')} of {len(arrays['group_error'])}, the costliest first. Columns with a parent's "
        "name count its members. Choose rows to select their neurons; one group by itself is shown alone in the plane."
    )


def _table(view: SpaceView, found: np.ndarray, said: Mapping[str, np.ndarray]) -> None:
    arrays = view.arrays
    whole = max(float(arrays["importance"].sum()), 1e-300)
    share = 100 * arrays["group_importance"] / whole
    key = f"groups-{view.run}-{view.space['index']}-{hash(found.tobytes())}"

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        choose(view, [int(found[row]) for row in rows])

    members = arrays["group_members"][found]
    percentage = st.column_config.NumberColumn
    table(
        {
            "Group": found, "Flags": [[name for name, which in said.items() if which[g]] for g in found],
            "Importance": share[found], "Variance lost": 100 * arrays["group_error"][found],
            "Cost": 100 * cost(arrays)[found], **{name: members[:, p] for p, name in enumerate(view.names)},
        },
        height=352, on_select=chosen, selection_mode="multi-row", key=key,
        alt="Groups with members of each parent, flags, importance, variance lost and cost",
        column_config={
            "Flags": st.column_config.ListColumn(width=300),
            "Importance": st.column_config.ProgressColumn(
                help="Its members' share of the space's importance", min_value=0.0, max_value=float(share.max()) or 1.0,
                format="%.2f %%",
            ),
            "Variance lost": percentage(
                format="%.1f %%", help="How much of its members' variance merging them loses: the spread of the group"
            ),
            "Cost": percentage(format="%.2f %%", help="Importance x variance lost: importance mass that is lost"),
        },
    )
