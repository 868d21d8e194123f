"""Parents: bring, train or pick the networks to fuse, see whether they fit together, and choose the data."""

from typing import Any

import streamlit as st

from fusion_engine import store
from pages.components.inputs.data_fit import lacking, misfits
from pages.components.inputs.intake import data_intake, follow_import, parents_intake
from pages.components.inputs.pickers import BUILT_IN, describe_parents, selected_parents
from pages.components.model import model_view
from pages.components.run import charts, progress
from pages.components.shared import router, state
from pages.components.shared.page_frame import heading, next_steps, told
from pages.components.shared.tables import folded_table, table
from pages.components.shared.text import count, distinct, join, plain, size
from pages.components.shared.theme import show

_FIT = 70  # letters of names that fit beside each other where the page is narrow


def chosen_data() -> dict[str, Any] | None:
    """Summary of the calibration data; None where there is none, or it is built in."""
    chosen = state.get("data")
    return store.read_data_summary(chosen) if chosen and chosen not in BUILT_IN else None


def preflight(summary: dict[str, Any]) -> None:
    """Whether the set can be fused: the job's verdict, spaces and levels."""
    arguments: dict[str, Any] = {"parents": summary["id"]}
    if summary["input_shape"] is None and (data := chosen_data()) is not None:
        arguments["input_shape"] = list(data["shape"])
    if (chosen := chosen_data()) is not None and chosen["labelled"] and not misfits(summary, state.get("data"), ""):
        arguments["data"] = chosen["id"]
    run = progress.remembered("preflight", arguments)
    if run is None or not progress.follow(
        run, "Checking that the parents can be fused", retry=lambda: progress.try_again(run), cancel=False
    ):
        return
    result = store.read_result(run)
    if not result["ok"]:
        told = any(parent["reason"] == result["error"] for parent in result.get("parents", []))
        st.error(
            "These parents cannot be fused as they are." if told else plain(result["error"]), icon=":material/block:"
        )
    else:
        neurons = sum(space["size"] for space in result["spaces"])
        worst = max(result["verify"].values(), default=0.0)
        st.success(
            f"These parents can be fused: {count(len(result['spaces']), 'space')} with {count(neurons, 'neuron')} in "
            f"{count(len(result['levels']), 'level')}. Exchanging neurons changes the outputs by {worst:.0e} at most.",
            icon=":material/check_circle:",
        )
    for warning in (line for line in result["warnings"] if line not in summary["warnings"]):
        st.warning(plain(warning), icon=":material/warning:")
    verdicts(result)
    matrix(summary, result["matrix"])
    if result["levels"]:
        model_view.draw(result, summary["input_shape"] or arguments.get("input_shape") or [])


def verdicts(result: dict[str, Any]) -> None:
    """Each parent on a line, those with the same trouble together: fine, or what is in the way, where, and the fix."""
    if result["ok"]:
        return
    parents = result.get("parents", [])
    lines: dict[str, list[str]] = {}
    for name, parent in zip(distinct(p["name"] for p in parents), parents, strict=True):
        lines.setdefault("" if parent["ok"] else _trouble(parent), []).append(f"**{plain(name)}**")
    for trouble, whose in lines.items():
        icon = ":red[:material/block:]" if trouble else ":green[:material/check:]"
        st.markdown(f"{icon} {join(whose)}: {trouble or 'nothing in the way'}")


def _trouble(parent: dict[str, Any]) -> str:
    """'operation `index` in module `blocks.0`: why, and what to do'."""
    reason = plain(parent["reason"].split(" cannot be followed: ")[-1])
    if parent["operation"]:
        where = f"module `{_code(parent['module'])}`" if parent["module"] else "the model itself"
        return f"operation `{_code(parent['operation'])}` in {where} cannot be followed: {reason}"
    return f"module `{_code(parent['module'])}`: {reason}" if parent["module"] else reason


def _code(name: str) -> str:
    """A name between backticks, which it must not end."""
    return name.replace("`", "'")


def matrix(summary: dict[str, Any], cells: list[list[dict[str, Any]]]) -> None:
    """Which parents fit together, pair by pair."""
    names = distinct(p["name"] for p in summary["parents"])
    if len(names) == 2:
        return
    st.subheader("Which fit together", anchor=False)
    # Many long names do not fit beside each other: then columns go by numbers.
    heads, rows_of = names, names
    if sum(map(len, names)) > _FIT:
        heads, rows_of = [str(i) for i in range(len(names))], [f"{i} · {name}" for i, name in enumerate(names)]
    rows = [{"Parent": n, **{m: "✓" if c["ok"] else "✗" for m, c in zip(heads, row, strict=True)}}
            for n, row in zip(rows_of, cells, strict=True)]
    table(rows, width="content", alt="Compatibility of each pair of parents")


def overview(summary: dict[str, Any]) -> None:
    parents = summary["parents"]
    facts, classes = st.columns([1, 1], gap="large")
    with facts:
        st.subheader("Weights", anchor=False)
        layers = parents[0]["layers"]
        other = any(layer.get("own", layer["name"]) != layer["name"] for layer in layers)
        table(
            [{
                "Tensor": layer["name"], **({"In the first file": layer.get("own") or "–"} if other else {}),
                "Shape": " × ".join(map(str, layer["shape"])), "Numbers": layer["parameters"],
            } for layer in layers],
            alt="Tensors of each parent with shapes and numbers of weights", numbers=["Numbers"],
        )
        st.caption(f"Each parent has {size(parents[0]['parameters'])} weights in all.")
    with classes:
        st.subheader("What each parent has seen", anchor=False)
        counted = [p for p in parents if p["class_counts"]]
        if not counted:
            st.caption(
                "Unknown. With a parents.json that holds class_counts, the app can weigh each parent by what it knows."
            )
            return
        names, counts = distinct(p["name"] for p in counted), [p["class_counts"] for p in counted]
        show(charts.class_counts(names, counts), "Stacked bars: training samples of each class by parent", "counts")
        folded_table(
            [{"Parent": n, **{str(c): v for c, v in enumerate(row)}, "All": sum(row)}
             for n, row in zip(names, counts, strict=True)],
            alt="Training samples of each class by parent",
        )


def data_overview() -> None:
    data = chosen_data()
    if data is None:
        return
    shape = " × ".join(map(str, data["shape"]))
    kind = "labels of positions" if data["classes"] else "values to predict"
    kind = "labels" if data["counts"] is not None else kind
    labels = f"with {kind}" if data["labelled"] else "without labels"
    classes = f", {count(data['classes'], 'class', 'classes')}" if data["classes"] else ""
    what = "sample of tokens" if data["dtype"] == "int64" else "sample"
    numbers = count(data["samples"], what, what.replace("sample", "samples"))
    st.caption(f"{numbers} of shape {shape}, {labels}{classes}.")


router.enter()
heading(
    "Parents", "The [parents] are the networks to fuse: two to eight of the same architecture, and some data to "
    "compare them on.",
)
choose, data = st.columns(2, gap="large")
with choose:
    st.header("1 · Parents", anchor=False)
    parents_intake()
with data:
    st.header("2 · Data", anchor=False)
    data_intake()
    data_overview()
follow_import()
chosen = selected_parents()
if chosen is None:
    st.caption("Nothing chosen yet. The shipped demo is the quickest way to look around.")
else:
    st.header(plain(describe_parents(chosen)), anchor=False)
    if warnings := chosen["warnings"]:
        lines = "\n".join(f"- {plain(line)}" for line in warnings)
        st.warning(lines if len(warnings) > 1 else plain(warnings[0]), icon=":material/warning:")
    for reason in misfits(chosen, state.get("data"), state.get("test")):
        st.error(plain(reason), icon=":material/dataset:")
    if line := lacking(chosen, state.get("data")):
        st.warning(plain(line), icon=":material/warning:")
    with told():
        preflight(chosen)
    with st.container(key="parents-chosen"):
        overview(chosen)
    next_steps(explore="Explore their neurons", analyse="Analyse what they share", fuse="Fuse them")
