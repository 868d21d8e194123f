"""Fuse: choose a recipe, change it if you know better, run it, follow it."""

from contextlib import nullcontext
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.core.capability import used
from fusion_engine.core.recipe import Recipe
from fusion_engine.jobs import client
from pages.components.inputs import pickers
from pages.components.inputs.base_model import base_model, base_select
from pages.components.inputs.data_fit import lacking, misfits
from pages.components.inputs.facts import facts
from pages.components.inputs.sample_number import samples_input
from pages.components.recipe import forms, recipes
from pages.components.recipe.import_recipe import import_recipe
from pages.components.recipe.preset_cards import choose_preset
from pages.components.recipe.recipe_draft import Draft
from pages.components.run import level_progress, level_runs, progress, reports
from pages.components.run.downloads import download_row
from pages.components.runs import describe
from pages.components.shared import router, state
from pages.components.shared.page_frame import empty, heading, job_of, next_steps
from pages.components.shared.tables import folded_table
from pages.components.shared.text import count, plain, seconds
from pages.components.sharing.snippets import fusion_snippet

SAMPLES = 400


def expert(draft: Draft, methods: dict[str, list[dict[str, Any]]]) -> None:
    """The recipe's four parts as forms; what they say becomes the draft."""
    with st.expander("Change the recipe", icon=":material/tune:", expanded=draft.changed):
        key, recipe = f"draft-{draft.version}", draft.recipe
        left, right = st.columns(2, gap="large")
        with left:
            importance = forms.method_form("Importance", methods["importance"], recipe["importance"], f"{key}.i")
            grouping = forms.method_form("Grouping", methods["grouping"], recipe["grouping"], f"{key}.g")
            width = st.number_input(
                "Width", min_value=0.05, max_value=8.0, value=float(recipe["width"]), step=0.25, key=f"{key}.width",
                format="%g", help="Hidden widths of the fused network over the first parent's: below 1 it is smaller.",
            )
        with right:
            solver = forms.method_form("Solver", methods["solver"], recipe["solver"], f"{key}.s")
            post = forms.post_form(methods["post"], recipe["post"], f"{key}.p")
        parts = {"importance": importance, "grouping": grouping, "solver": solver, "post": post}
        draft.update(recipe | parts | {"width": width})
        with st.container(horizontal=True):
            st.page_link("pages/tune.py", label="Tune it", icon=":material/tune:")
            st.button("Undo", on_click=draft.undo, disabled=not draft.can_undo, icon=":material/undo:")
            st.button(
                "Reset to preset", on_click=draft.reset, disabled=not draft.changed, icon=":material/restart_alt:"
            )


def levels_note(draft: Draft, methods: dict[str, list[dict[str, Any]]]) -> None:
    """Which levels the solver works on, and the way to change them."""
    used = recipes.takes_levels(draft.recipe, methods)
    if not used and not draft.levels:
        return
    with st.container(border=True, key="levels-note"):
        text, change, clear = st.columns([5, 1.5, 1.3], vertical_alignment="center")
        note = f"Merged levels {plain(draft.levels)}: not used, this solver does not train level by level."
        if used:
            merged = f"Levels merged by hand: **{plain(draft.levels)}**"
            note = merged if draft.levels else "Levels: found automatically."
        text.markdown(f":material/layers: {note}")
        change.page_link("pages/parents.py", label="Change" if draft.levels else "Merge")
        if draft.levels:
            clear.button(
                "Clear", key="clear-levels", type="tertiary", icon=":material/close:", on_click=draft.clear_levels,
                help="Let the solver find the levels again.",
            )


def choose_settings(devices: list[str]) -> dict[str, Any]:
    """Calibration size, seed and device."""
    st.header("Settings", anchor=False)
    left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
    everything = middle.checkbox(
        "All", help="Use every calibration sample instead of a balanced draw.",
        **state.bound("samples", "samples-all", state.get("samples") == "all", lambda on: "all" if on else SAMPLES),
    )
    samples = samples_input(left, state.get("data"), SAMPLES, disabled=everything)
    seed = right.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, step=1,
        help="The same seed and inputs give the same network, bit by bit.",
        **state.bound("seed", "fuse-seed", min(state.number("seed", 0), 2**31 - 1)),
    )
    settings = {"samples": None if everything else samples, "seed": int(seed)}
    if len(devices) > 1:
        settings["device"] = st.selectbox(
            "Device", devices, **state.bound("device", "fuse-device", state.choice("device", devices)),
        )
    return settings


def run_panel(draft: Draft, catalogue: dict[str, Any], summary: dict[str, Any], settings: dict[str, Any]) -> None:
    """What will run, why it cannot, the button, and the same thing as a command and as a file."""
    recipe, methods = draft.recipe, catalogue["methods"]
    parents = summary["parents"]
    base = base_model(summary) if recipes.needs_base(recipe, methods) else ""
    title = draft.preset["title"] + (", changed" if draft.changed else "")
    with st.container(border=True, key="run-panel"):
        st.markdown(f"**{plain(title)}**")
        parts = [entry["title"] if entry else step["method"] for _, step, entry in used(recipe, methods)]
        st.caption(" → ".join(map(plain, parts)))
        if edits := recipe.get("edits"):
            st.caption(f":material/edit: With {count(len(edits), 'edit')} of groups by hand.")
        unfit = misfits(summary, state.get("data"), state.get("test"))
        if refused := recipes.refusal(recipe, methods, facts(summary)) or next(iter(unfit), ""):
            st.warning(plain(refused), icon=":material/block:")
        elif line := lacking(summary, state.get("data")):
            st.warning(plain(line), icon=":material/warning:")
        arguments = {
            "parents": summary["id"], "data": state.get("data"), "test": state.get("test") or None,
            "recipe": recipe if draft.changed else draft.preset["name"], **settings,
        } | ({"base": base} if base else {})
        if progress.pressed(
            f"Fuse {count(len(parents), 'parent')}", "fuse", type="primary", icon=":material/merge:", width="stretch",
            disabled=bool(refused),
        ) and not refused:
            start(arguments)
        if usual := store.expected("fuse", arguments):
            source = count(usual.runs, "such run") + ("" if usual.same else " on parents of the same sizes")
            st.caption(f":material/timer: About {progress.about(usual.seconds)}, from {source}.")
        if not state.get("test"):
            st.caption("No test data chosen: the network will be fused but not measured.")
    with st.container(key="expert-command"):
        line, file, python = st.tabs(["Command", "Recipe file", "Python"])
    with line:
        st.code(recipes.command(arguments, recipe, catalogue), language="bash", wrap_lines=True)
        st.caption(recipes.files_named(arguments))
    file.code(Recipe.from_mapping(recipe).to_yaml(), language="yaml")
    python.code(fusion_snippet(arguments, recipe), language="python", wrap_lines=True)


def start(arguments: dict[str, Any]) -> None:
    """Hand the fusion over and remember its run in the URL."""
    state.put(job=progress.submit("fuse", arguments))


def show_job(run: str) -> None:
    arguments = job_of(run, "fuse")["arguments"]
    if not progress.follow(run, "Fusing", retry=lambda: start(arguments)):
        return
    state.put(run=run)
    report = store.read_report(run)
    metric = reports.metric_of(report)
    scores = {m.label: getattr(m, metric) for m in reports.models(report)}
    best, fused = reports.best_parent(report), scores.get("Fused")
    with st.container(border=True, key="result"):
        st.header("Result", anchor=False)
        columns = st.columns(5)
        gain = None
        if fused is not None and best is not None:
            gain = f"{100 * (fused - best):+.1f} points" if metric == "accuracy" else f"{fused - best:+.3f}"
        joined = "Softmax ensemble" if "Ensemble, softmax" in scores or metric != "r2" else "Ensemble"
        texts = {
            "Fused": fused, "Best parent": best, "Plain average": scores.get("Plain average"),
            joined: scores.get("Ensemble, softmax" if joined != "Ensemble" else "Ensemble, logits"),
        }
        for column, (label, value) in zip(columns, texts.items(), strict=False):
            named = "" if metric == "accuracy" else f", {reports.METRICS[metric]}" if label == "Fused" else ""
            column.metric(
                label + named, reports.score_text(value, metric, 1), gain if label == "Fused" else None,
                delta_color="inverse" if metric == "perplexity" else "normal",
                help="The difference is to the best parent." if label == "Fused" else None,
            )
        columns[4].metric("Fused in", seconds(store.own_seconds(report)), help=known_before(report))
        trained(run, report)
        notes(report.get("warnings", []))
        with st.container(horizontal=True, vertical_alignment="center"):
            download_row(run)
            describe.popover(run, "fuse")
        next_steps(compare="Compare in detail", explore="See the groups")


def notes(lines: list[str]) -> None:
    """What the fusion had to say; folded where it is a lot."""
    with st.expander(count(len(lines), "note")) if len(lines) > 3 else nullcontext():
        for line in lines:
            st.caption(f":material/info: {plain(line)}")


def known_before(report: dict[str, Any]) -> str | None:
    """What earlier fusions had computed of this one, in words."""
    known = report["seconds"].get("shared", 0.0)
    return f"What the fusion takes by itself; {seconds(known)} of it were known from earlier ones." if known else None


@st.fragment
def trained(run: str, report: dict[str, Any]) -> None:
    """How each level was trained, where the solver did. A fragment: choosing a level redraws no more than this."""
    levels = level_runs.from_report(report)
    if not levels:
        return
    partition = report["decisions"]["gradient"].get("levels") or {}
    st.markdown(f"**Level by level**: {level_progress.summary(levels)}.")
    if partition.get("spec"):
        st.caption(f"Levels {plain(partition['spec'])}: {plain(partition.get('why') or 'as chosen')}.")
    level_progress.draw(levels, run)
    folded_table(
        [{
            "Level": step["level"], "Epochs": step["epochs"], "Rate": step["rate"],
            "Held out before": step["held_out_before"], "Held out after": step["held_out_after"],
            "Kept": step["kept"].replace("_", " "), "Why": step["reason"] or "–",
        } for step in report["decisions"]["gradient"]["steps"]],
        alt="Epochs, rate and held-out loss of each level",
    )


router.enter()
heading("Fuse", "Choose a [recipe] and merge the [parents] into one network. Presets first; every part can be changed.")
summary = pickers.parents_or_empty("There are no parents to fuse yet.")
pickers.context(summary, test=True)
if not state.get("data"):
    empty("A fusion compares neurons on data: choose calibration data for these parents.", "parents", "Choose data")
progress.wait_for_service()
catalogue = client.catalogue() or {}
result = st.container()
# A job is shown before the form is drawn; one that this run is about to start, after it.
follows = bool(state.get("job")) and not progress.is_pressed("fuse")
if follows:
    with result:
        show_job(state.get("job"))
form, panel = st.columns([7, 5], gap="large")
draft = Draft(catalogue["presets"], catalogue["methods"])
if asked := state.get("methods"):  # as another page's link asks: an importance and a grouping, separated by a comma
    state.forget("methods")
    importance, _, grouping = asked.partition(",")
    draft.take_methods(importance, grouping, facts(summary))
with form:
    st.header("Recipe", anchor=False)
    choose_preset(draft, catalogue["presets"], catalogue["methods"], facts(summary), summary["id"], state.get("test"))
    if draft.missing:
        st.warning(
            "The changed recipe that the address named is not in this store: this is the recipe as it is written. Ask "
            "for its file, or for a bundle, which has it.", icon=":material/link_off:",
        )
    with st.container(key="expert-recipe"):  # not shown in presentation mode
        expert(draft, catalogue["methods"])
        import_recipe(draft, catalogue["methods"])
        levels_note(draft, catalogue["methods"])
        settings = choose_settings(catalogue["devices"])
with panel, st.container(key="run-side"):
    st.header("Run", anchor=False)
    if recipes.needs_base(draft.recipe, catalogue["methods"]):
        base_select(summary)
    run_panel(draft, catalogue, summary, settings)
if state.get("job") and not follows:
    with result:
        show_job(state.get("job"))
