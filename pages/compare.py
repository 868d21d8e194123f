"""Compare: fused networks against their parents, the plain average and the ensembles, and against each other."""

from itertools import zip_longest
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.store.described.beside import titles
from fusion_engine.store.shapes import DescribedRun
from pages.components.compare import closer, noise
from pages.components.compare.compared import Compared
from pages.components.inputs import pickers
from pages.components.recipe import recipes
from pages.components.run import charts, reports
from pages.components.run.downloads import download_row
from pages.components.runs import browse, describe
from pages.components.shared import glossary, router, state
from pages.components.shared.page_frame import empty, heading, told
from pages.components.shared.tables import folded_table, table
from pages.components.shared.text import count, distinct, megabytes, percent, plain, seconds, short, when
from pages.components.shared.theme import show

MOST = 8


def choose(runs: dict[str, DescribedRun]) -> list[str]:
    """The runs to compare: those in the URL, else the one just fused, else the newest."""
    named = list(dict.fromkeys(filter(None, state.get("runs").split(","))))
    wanted = [run for run in named if run in runs] or [state.choice("run", runs)]
    if missing := [run for run in named if run not in runs]:
        st.warning(
            f"This address names {count(len(missing), 'run')} that {'is' if len(missing) == 1 else 'are'} no finished "
            f"fusion of this store: {plain(short(', '.join(missing), 60))}.", icon=":material/warning:",
        )
    names = pickers.run_labels(runs.values())
    several, finding = st.columns([6, 1.3], vertical_alignment="bottom")
    several.multiselect(
        "Runs", list(runs), format_func=names.__getitem__, max_selections=MOST, placeholder="Choose runs",
        **state.bound("runs", "compare-runs", wanted, put_runs),
    )
    with finding:
        st.toggle("Find runs", **state.bound("finding", "compare-finding", state.get("finding") == "1", on_or_off))
    if state.get("finding") == "1":
        with st.container(border=True, key="find-runs"):
            browse.draw(list(runs.values()), wanted, lambda chosen: state.put(runs=put_runs(chosen)), MOST)
    return wanted


def put_runs(chosen: list[str]) -> str | None:
    """Runs as the URL holds them."""
    return ",".join(chosen) or None


def on_or_off(chosen: bool) -> str | None:
    """A switch as the URL holds it."""
    return "1" if chosen else None


def kept_apart(names: dict[str, str], chosen: list[str]) -> list[str]:
    """The runs that can be compared with the first; the others only if that is asked for, which is said."""
    stand = {run: store.ground(run) for run in chosen}
    apart = store.said_apart({run: plain(name) for run, name in names.items()}, stand, chosen[0])
    if not apart:
        return chosen
    mixed, against = state.get("mix") == "1", plain(names[chosen[0]])
    with st.container(border=True, key="foreign-runs"):
        if mixed:
            st.markdown(f":material/warning: **They do not measure the same**: as against {against}, {apart}.")
        else:
            st.markdown(f":material/call_split: **Kept apart**: as against {against}, {apart}.")
        st.toggle("Compare them all the same", **state.bound("mix", "compare-mix", mixed, on_or_off))
    return chosen if mixed else [run for run in chosen if not stand[chosen[0]].differs(stand[run])]


def labels(chosen: list[str]) -> dict[str, str]:
    """Short, distinct names of the chosen runs: their own, else their recipes'."""
    return dict(zip(chosen, distinct(titles(chosen), 40), strict=True))


def overview(names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    rows = []
    metrics = {run: reports.metric_of(report) for run, report in found.items()}
    for run, report in found.items():
        metric = metrics[run]
        known = {m.label: reports.score_text(getattr(m, metric), metric) + interval_of(m, metric)
                 for m in reports.models(report)}
        best, mean = (reports.score_text(of(report), metric) for of in (reports.best_parent, reports.mean_parent))
        known |= {"Best parent": best, "Mean parent": mean}
        rows.append({
            "Run": names[run], **({} if set(metrics.values()) == {metric} else {"Measure": reports.METRICS[metric]}),
            **{label: known.get(label, "–") for label in (
                "Fused", "Best parent", "Mean parent", "Plain average", "Ensemble, logits", "Ensemble, softmax")},
            "Takes": seconds(store.own_seconds(report)), "Memory": megabytes(report["peak_memory_mb"]),
        })
    kinds = list(dict.fromkeys(metrics.values()))
    st.header(" and ".join(reports.METRICS[kind] for kind in kinds), anchor=False)
    for line in dict.fromkeys((report.get("task") or {}).get("why", "") for report in found.values()):
        if line:
            st.caption(f":material/info: {plain(line)}")
    if "perplexity" in kinds:
        st.caption("Less perplexity is better; the bars and dots show how many next tokens are right.")
    if not any(reports.models(report) for report in found.values()):
        st.info("These runs had no test data, so nothing was measured. Choose test data and fuse again.")
    elif "r2" in kinds:
        st.caption("R² is 1 where every value is predicted exactly, and 0 where the mean would do as well.")
    elif len(found) == 1:
        models = reports.models(next(iter(found.values())))
        show(charts.accuracy_bars(models), "Bars: accuracy of parents, references and the fused network", "accuracy")
    else:
        dots = {names[run]: reports.models(report) for run, report in found.items()}
        show(charts.accuracy_dots(dots), "Dots: accuracy of each run's parents, references and result", "accuracy")
    table(rows, alt="Accuracy, time and memory of each run")


def interval_of(model: reports.Model, metric: str) -> str:
    return reports.interval_text(model.interval) if metric == "accuracy" else ""


def analyses(jobs: list[dict[str, Any]], names: dict[str, str]) -> None:
    """A button a run: where it loses accuracy, and whether its networks can be averaged."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Error budget by level, barriers and class coverage:", width="content")
        for job in jobs:
            label = "Analyse" if len(jobs) == 1 else f"Analyse {plain(names[job['id']])}"
            if st.button(
                label, key=f"analyse-{job['id']}", icon=":material/troubleshoot:", type="tertiary",
                on_click=take_to_analysis, args=(job,),
            ):
                st.switch_page("pages/analyse.py")


def take_to_analysis(job: dict[str, Any]) -> None:
    """Put a run where the page Analyse looks for it."""
    arguments = job["arguments"]
    state.put(
        parents=arguments["parents"], data=arguments["data"], test=arguments.get("test"), on=None, fusion=job["id"],
        analysis=None,
    )


def widths(jobs: list[dict[str, Any]], names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    """Accuracy against size, for runs of the same parents whose results differ in width."""
    sets = {job["id"]: job["arguments"]["parents"] for job in jobs}
    for parents in dict.fromkeys(sets.values()):
        sized = {run: report["width"] for run, report in found.items() if sets[run] == parents and report.get("width")}
        accuracy = {run: found[run].get("fused", {}).get("accuracy") for run in sized}
        sized = {run: width for run, width in sized.items() if accuracy[run] is not None}
        if len({width["parameters"] for width in sized.values()}) < 2:
            continue
        first = next(iter(sized))
        weighed = zip(sized[first]["parents_parameters"], found[first]["parents"], strict=True)
        st.header("Accuracy and size", anchor=False)
        show(
            charts.width_curve(
                {names[run]: (width["parameters"], accuracy[run]) for run, width in sized.items()},
                [(parameters, entry["accuracy"]) for parameters, entry in weighed],
            ),
            "Dots: accuracy of fused networks and their parents against the number of parameters", f"width-{parents}",
        )
        folded_table(
            [{
                "Run": names[run], "Width": f"{width['relative']:g} ×", "Parameters": width["parameters"],
                "Of a parent's": percent(width["parameters"] / max(1, width["parents_parameters"][0]), 0),
                "Accuracy": percent(accuracy[run], 2),
            } for run, width in sorted(sized.items(), key=lambda item: item[1]["parameters"])],
            alt="Width, parameters and accuracy of each run", numbers=["Parameters"],
        )


def spaces(names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    """How each space was grouped, and which could not be grouped as the recipe says."""
    listed = {run: [s for s in report.get("spaces", []) if s.get("grouping")] for run, report in found.items()}
    if not any(listed.values()):
        return
    st.header("How neurons were grouped", anchor=False, help=glossary.meaning("group"))
    for run, entries in listed.items():
        other = [s for s in entries if s.get("fallback")]
        how = ", ".join(f"{sum(s['grouping'] == m for s in entries)} by {plain(m)}"
                        for m in dict.fromkeys(s["grouping"] for s in entries))
        fell = f" **{count(len(other), 'space')} fell back** to another grouping." if other else ""
        st.markdown(f"**{plain(names[run])}**: {count(len(entries), 'space')}, {how}.{fell}")
        if other:
            table(
                [{"Space": s["name"], "Neurons": s["size"], "Grouped by": s["grouping"], "Why": s["fallback"]}
                 for s in other],
                alt="Spaces that fell back to another grouping, and why",
            )


def classes(names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    """Parents and references of the first run, and the fused network of every run with the same test data."""
    first, *others = found
    rows = reports.models(found[first], f"Fused: {names[first]}" if others else "Fused")
    test = store.read_job(first)["arguments"].get("test")
    for run in others:
        if store.read_job(run)["arguments"].get("test") == test:
            rows.append(reports.models(found[run], f"Fused: {names[run]}")[-1])
    rows = [m for m in rows if m.per_class]
    if not rows:
        return
    st.header("Accuracy per class", anchor=False)
    show(charts.class_heatmap(rows), "Heat map: accuracy per class, one row a network", "classes")
    folded_table(
        [{"Network": m.label, **{str(c): percent(v) + reports.interval_text(i, 0) for c, (v, i) in enumerate(
            zip_longest(m.per_class or [], m.class_intervals))}} for m in rows],
        alt="Accuracy per class of each network",
    )


def time_and_recipe(names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Time", anchor=False)
        spent = {names[run]: reports.stage_seconds(report) for run, report in found.items()}
        show(charts.stage_bars(spent), "Stacked bars: seconds of each stage by run", "stages")
        stages = [s for s in reports.STAGES if any(s in one for one in spent.values())]
        folded_table(
            [{"Run": run, **{s: seconds(one.get(s, 0.0)) for s in stages}} for run, one in spent.items()],
            alt="Seconds of each stage by run",
        )
    with right:
        st.header("Recipe" if len(found) == 1 else "Where the recipes differ", anchor=False)
        mappings = {names[run]: report["recipe"] for run, report in found.items()}
        if len(found) == 1:
            (mapping,) = mappings.values()
            rows = [{"Setting": k, "Value": str(v)} for k, v in recipes.settings(mapping).items()]
        else:
            rows = recipes.differences(mappings)
        if rows:
            table(rows, alt="Settings of the recipes")
        else:
            st.caption("They do not: the runs differ in data, seed or parents only.")


def each(jobs: list[dict[str, Any]], names: dict[str, str], found: dict[str, dict[str, Any]]) -> None:
    """Downloads, the command and deletion, a run at a time."""
    st.header("Take away", anchor=False)
    catalogue, tags = client.catalogue(), store.every_tag(list(runs.values()))
    for job in jobs:
        run = job["id"]
        with st.container(border=True, key=f"take-{run}"):
            title, files, delete = st.columns([4, 5, 1.4], vertical_alignment="center")
            with title:
                recipe = store.recipe_name(job["arguments"])
                st.markdown(f"**{plain(names[run])}** · {plain(recipe)} · {when(job['created'])}")
                describe.line(run)
                describe.popover(run, "compare", tags)
            with files:
                download_row(run)
            delete.button(
                "Delete", key=f"delete-{run}", icon=":material/delete:", type="tertiary", on_click=remove, args=(run,)
            )
            if catalogue:
                with st.expander("The command that does the same", icon=":material/terminal:"):
                    line = recipes.command(job["arguments"], found[run]["recipe"], catalogue)
                    st.code(line, language="bash", wrap_lines=True)
                    st.caption(recipes.files_named(job["arguments"]))


def remove(run: str) -> None:
    """Delete a run; it can be brought back until the next one is deleted."""
    store.delete_run(run)
    st.session_state["deleted"] = run
    rest = [r for r in state.get("runs").split(",") if r and r != run]
    state.put(runs=",".join(rest) or None)
    if state.get("run") == run:
        state.forget("run", "job", "demo")


def restore(run: str) -> None:
    store.restore_run(run)
    st.session_state.pop("deleted", None)
    state.put(runs=",".join(filter(None, [state.get("runs"), run])))


def offer_undo() -> None:
    if deleted := st.session_state.get("deleted"):
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="undo-panel"):
            st.markdown("The run was deleted.", width="stretch")
            st.button("Undo", key="undo-delete", on_click=restore, args=(deleted,), icon=":material/undo:")


router.enter()
heading("Compare", "Fused networks beside their [parents], the [plain average] and the [ensembles].")
offer_undo()
runs = {run["id"]: run for run in store.find_runs(state="done")}
if not runs:
    empty("No network has been fused yet.", "fuse", "Fuse some parents")
chosen = choose(runs)
reports_found: dict[str, dict[str, Any]] = {}
for run in chosen:
    with told():
        reports_found[run] = store.read_report(run)
if not reports_found:
    st.caption("Choose at least one run.")
    st.stop()
every = labels(list(reports_found))
kept = kept_apart(every, list(reports_found))
reports_found = {run: reports_found[run] for run in kept}
shown = {run: every[run] for run in kept}
jobs = [runs[run] for run in kept]
about = Compared({run: runs[run] for run in kept}, reports_found, shown)
overview(shown, reports_found)
noise.draw(about, state.get("mix") == "1")
analyses(jobs, shown)
widths(jobs, shown, reports_found)
classes(shown, reports_found)
if any("fused" in report for report in reports_found.values()):
    closer.draw(about)
time_and_recipe(shown, reports_found)
spaces(shown, reports_found)
each(jobs, shown, reports_found)
