"""Explore: take the parents apart, space by space: which neurons matter, which are alike, how they are grouped."""

from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.capability import Facts, Methods
from fusion_engine.core.errors import StoreError
from fusion_engine.jobs import client
from pages.components.editing import edit_list, edit_panel, fuse_again
from pages.components.groupings import beside, correlation_map, group_table, network_map, scores_view, verdict_view
from pages.components.inputs import pickers
from pages.components.inputs.facts import facts
from pages.components.neurons import space_view
from pages.components.recipe.recipes import able
from pages.components.run import progress
from pages.components.shared import router, space, state
from pages.components.shared.page_frame import empty, existing, heading, next_steps, told
from pages.components.shared.text import count, distinct, percent, plain

IMPORTANCE, GROUPING = "activation", "kmeans"
SECTIONS = {
    "Groups": group_table.draw, "Scores": scores_view.draw, "Correlations": correlation_map.draw,
    "Beside another": beside.draw,
}


def fusion_of(parents: str) -> dict[str, Any] | None:
    """The fuse run in the URL, if it is done and has these parents."""
    run = state.get("run")
    job = existing(store.read_job, run) if run else None
    if job is None or job["kind"] != "fuse" or job["arguments"]["parents"] != parents:
        return None
    return job if client.status(run)["state"] == "done" else None


def choose_source(fusion: dict[str, Any] | None) -> bool:
    """Whether to show the groupings of the fusion in the URL rather than those of chosen methods."""
    if fusion is None:
        return False
    ways = {"run": "As fused", "methods": "By other methods"}
    help_text = f"As in the run {plain(pickers.run_label(fusion))}, or by methods chosen here."
    bound = state.bound("source", "explore-source", state.choice("source", ways))
    chosen = st.segmented_control("Groups", list(ways), required=True, format_func=ways.get, help=help_text, **bound)
    return chosen == "run"


def choose_methods(methods: Methods, given: Facts) -> dict[str, str]:
    """Importance and grouping to look at, from the catalogue, those that cannot work here left out."""
    chosen = {}
    for column, kind, default in zip(st.columns(2), ("importance", "grouping"), (IMPORTANCE, GROUPING), strict=True):
        titles = {m["name"]: m["title"] for m in able(kind, methods, given)}
        chosen[kind] = column.selectbox(
            kind.capitalize(), list(titles), format_func=titles.__getitem__,
            **state.bound(kind, f"explore-{kind}", state.choice(kind, titles, default)),
        )
    return chosen


def choose_space(result: dict[str, Any]) -> dict[str, Any]:
    """One space, listed by depth: level after level."""
    spaces = sorted(result["spaces"], key=lambda s: (s["level"] if s["level"] is not None else 0, s["index"]))
    levels = {level["index"]: level["name"] for level in result["levels"]}
    by_name = {s["name"]: s for s in spaces}

    def label(name: str) -> str:
        space = by_name[name]
        level = levels.get(space["level"], "")
        within = f" in {level}" if level not in ("", name) else ""
        return f"Level {space['level']} · {name}{within} ({count(sum(space['sizes']), 'neuron')})"

    worst = (result.get("verdict") or {}).get("worst", [])  # what there is to see is there first
    bound = state.bound("space", "explore-space", state.choice("space", by_name, *worst[:1]))
    return by_name[st.selectbox("Space, by depth", list(by_name), format_func=label, **bound)]


def show_run(run: str, space_column: Any) -> None:
    result = store.read_explore(run)
    if not result["spaces"]:
        st.info("This network has no hidden neurons to explore.")
        return
    for warning in result["warnings"]:
        st.warning(plain(warning), icon=":material/warning:")
    with space_column:
        chosen = choose_space(result)
    verdict_view.network(result)
    network_map.draw(result, chosen["name"])
    view = space.SpaceView(run, chosen, distinct(result["parents"]), space.load(run, chosen["index"]))
    draw_space(view, result["samples"])


@st.fragment
def draw_space(view: space.SpaceView, samples: int) -> None:
    """The space as its edits leave it. A fragment: a click on a neuron redraws no more than this."""
    if fuse_again.moved_on():
        st.rerun()
    shown, problem = edit_list.applied(view)
    judged = shown.space.get("verdict")
    weighed = f", {percent(judged['cost'])} weighed by importance" if judged else ""
    soft = "" if shown.space["hard"] else " Groups are soft here: each neuron is shown in the one it weighs most in."
    st.caption(
        f"{count(view.total, 'neuron')} of {count(len(view.names), 'parent')} in "
        f"{count(shown.space['size'], 'group')}; merging loses {percent(shown.space['error'])} of their variance"
        f"{weighed}. "
        f"Measured on {count(samples, 'sample')}.{soft}"
    )
    if problem:
        st.warning(f"The edits are not shown here: {plain(problem)}", icon=":material/warning:")
    verdict_view.draw(shown, edited=shown is not view)
    space_view.draw(shown, {**SECTIONS, "Edit": edit})


def edit(view: space.SpaceView) -> None:
    """Changing the groups, and fusing with the changes."""
    with told():
        try:
            edit_panel.draw(view)
            fuse_again.draw(view)
        except StoreError:
            st.button("Forget these edits", on_click=lambda: state.put(edits=None), icon=":material/close:")
            raise


router.enter()
heading("Explore", "Which [neurons] matter, which do the same work, and how they are [grouped], one [space] at a time.")
summary = pickers.parents_or_empty("There are no parents to look at yet.")
pickers.context(summary)
if not state.get("data"):
    empty("Neurons are compared on data: choose calibration data for these parents.", "parents", "Choose data")
progress.wait_for_service()
catalogue = client.catalogue() or {}
fusion = fusion_of(summary["id"])
space_column, method_column = st.columns(2, gap="large")
with method_column:
    as_fused = choose_source(fusion)
chosen: dict[str, str] = {}
if as_fused and fusion is not None:
    show_run(fusion["id"], space_column)
else:
    with method_column:
        chosen = choose_methods(catalogue["methods"], facts(summary))
    arguments = {"parents": summary["id"], "data": state.get("data"), "seed": state.number("seed", 0), **chosen}
    explored = progress.remembered("explore", arguments)
    if explored and progress.follow(explored, "Measuring the neurons", retry=lambda: progress.try_again(explored)):
        show_run(explored, space_column)
next_steps({"methods": ",".join(chosen.values())} if chosen else None, fuse="Fuse these parents")
