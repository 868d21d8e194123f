"""Level by level: what events and reports say, the chips and curves, and the merged levels in the recipe."""

from __future__ import annotations

import math

import pytest
import samples
from test_fuse import READY, commands

from fusion_engine import store
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.store.files import write_json
from pages.components.run.level_progress import loss_curves, summary
from pages.components.run.level_runs import LevelRun, from_events, from_report, latest, steps_from_events


def events(*details: dict) -> list[dict]:
    return [{"stage": "solve", "fraction": 0.5, "message": "", "detail": d} for d in details]


def done(level: int, kept: str = "trained", reason: str = "", levels: int = 3) -> dict:
    return {"level": f"fc{level}", "index": level, "levels": levels, "done": True, "kept": kept, "reason": reason}


def test_events_tell_how_far_each_level_is() -> None:
    runs = from_events(events(
        {}, samples.epoch(0, 1, 0.5, 0.6), samples.epoch(0, 2, 0.4, 0.5), done(0, "least_squares", "it diverged"),
        samples.epoch(1, 1, 0.3, 0.4),
    ))  # fmt: skip
    assert [run.state for run in runs] == ["least_squares", "running", "waiting"]
    assert runs[0].reason == "it diverged"
    assert runs[0].curve == [(1, 0.5, 0.6), (2, 0.4, 0.5)]
    assert (runs[1].name, runs[1].epochs) == ("fc1", 10)
    assert latest(runs) == 1


def test_least_squares_before_training_is_left_out() -> None:
    solved = [{"level": f"fc{i}", "index": i, "levels": 5} for i in range(3)]
    assert [run.state for run in from_events(events(*solved))] == [
        "least_squares", "least_squares", "running", "waiting", "waiting"
    ]
    assert [run.state for run in from_events(events(*solved, samples.epoch(0, 1, 1.0, 1.0)))] == [
        "running", "waiting", "waiting"
    ]


def test_a_missing_last_event_of_a_level_does_not_leave_it_running() -> None:
    runs = from_events(events(samples.epoch(0, 1, 0.5, 0.6), samples.epoch(2, 1, 0.5, 0.6)))
    assert [run.state for run in runs] == ["trained", "waiting", "running"]


def test_other_jobs_have_no_levels() -> None:
    assert from_events(events({"parent": 1, "loss": 0.25}, {})) == []
    assert from_events([{"stage": "solve", "detail": None}]) == []
    assert from_report(samples.report()) == []


def test_steps_after_the_solve_have_curves_of_their_own() -> None:
    told = events(samples.epoch(0, 1, 0.5, 0.6, levels=1))
    told += [
        {"stage": "post", "fraction": 0.9, "message": "", "detail": {
            "level": name, "index": 0, "levels": 1, "step": step, "steps": 20, "loss": 1.0 / step}}
        for name, step in (("head", 1), ("head", 2), ("all", 1))
    ]
    assert [(run.name, run.state) for run in from_events(told)] == [("fc0", "trained")]
    head, whole = steps_from_events(told, 1)
    assert (head.index, head.state, head.curve) == (1, "trained", [(1, 1.0, None), (2, 0.5, None)])
    assert (whole.index, whole.state, whole.epochs) == (2, "running", 20)
    assert loss_curves(head).layout.xaxis.title.text == "Step of head"


def test_losses_that_cannot_be_drawn_are_left_out() -> None:
    curve = from_events(events(
        samples.epoch(0, 1, 0.5, math.nan), samples.epoch(0, 2, math.inf, 0.4), samples.epoch(0, 3, 0.0, 0.2)
    ))[0].curve  # fmt: skip
    assert curve == [(1, 0.5, None), (2, None, 0.4), (3, None, 0.2)]
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in loss_curves(LevelRun(0, curve=curve)).data}
    assert drawn == {"Held out": ([2, 3], [0.4, 0.2]), "Training": ([1], [0.5]), "Best": ([3], [0.2])}


def test_the_report_tells_the_same() -> None:
    runs = from_report({"decisions": samples.trained()})
    assert [run.state for run in runs] == ["trained", "least_squares", "trained"]
    assert runs[0].curve[:2] == [(0, None, 0.6), (1, 0.25, 0.3)]
    assert summary(runs) == "✓ 2 levels trained, ◇ 1 level kept the least-squares solution"


def test_a_level_that_kept_its_start_says_so(open_page, filled) -> None:
    decisions = samples.trained()
    decisions["gradient"]["steps"][1]["kept"] = "start"
    run = samples.add_fusion()
    write_json(store.run_folder(run) / "report.json", samples.report() | {"decisions": decisions})
    app = open_page("fuse", job=run, **READY)
    assert "◇ 1 · fc1" in chips(app)
    assert "fc1: start kept, the loss diverged" in chips(app)
    assert any("◇ 1 level kept the weights training starts from" in m.value for m in app.markdown)


@pytest.mark.parametrize(
    "losses", [(0.0999, 0.1012), (0.5,), (0.51, 0.5), (1e-5, 1.0), (0.9, 7.5), (1e-12, 1e4), (3.3e-4, 3.4e-4)]
)
def test_the_logarithmic_axis_has_a_few_labels(losses: tuple[float, ...]) -> None:
    axis = loss_curves(LevelRun(0, curve=[(i, v, v) for i, v in enumerate(losses)])).layout.yaxis
    low, high = (10**end for end in axis.range)
    assert low < min(losses) <= max(losses) < high
    assert 2 <= sum(low <= mark <= high for mark in axis.tickvals) <= 10
    assert len(set(axis.ticktext)) == len(axis.ticktext)


def chips(app) -> str:
    return next(e.proto.body for e in app.get("html") if 'class="levels"' in e.proto.body)


def test_a_running_fusion_shows_its_levels_and_the_curve(open_page, filled) -> None:
    run = samples.add_run("fuse", {"parents": samples.PARENTS, "recipe": "kf_linear"}, "running")
    for detail in (samples.epoch(0, 1, 0.5, 0.6), done(0), samples.epoch(1, 4, 0.3, 0.4)):
        store.append_event(run, ProgressEvent("solve", 0.5, "level", detail))
    app = open_page("fuse", job=run, **READY)
    shown = chips(app)
    assert 'class="trained" style="--done: 0%" title="fc0: trained"' in shown
    assert "▸ 1 · fc1 4/10" in shown
    assert "○ 2" in shown
    assert len(app.get("plotly_chart")) == 1
    choice = app.selectbox(key=f"level-{run}")
    assert (choice.value, len(choice.options)) == (-1, 3)


def test_a_finished_fusion_shows_them_from_its_report(open_page, filled) -> None:
    run = samples.add_fusion()
    write_json(store.run_folder(run) / "report.json", samples.report() | {"decisions": samples.trained()})
    app = open_page("fuse", job=run, **READY)
    assert "fc1: least squares kept, the loss diverged" in chips(app)
    app.selectbox(key=f"level-{run}").select(1).run()
    assert any("the loss diverged" in c.value for c in app.caption)
    assert any("2 levels trained" in m.value for m in app.markdown)


def test_merged_levels_go_into_the_recipe_of_solvers_that_use_them(open_page, filled, submitted) -> None:
    app = open_page("fuse", levels="0-1,2", **READY)
    assert any("not used" in m.value for m in app.markdown)
    assert "--set" not in commands(app)
    next(s for s in app.selectbox if s.label == "Solver").select("gradient").run()
    assert any("Levels merged by hand: **0\\-1,2**" in m.value for m in app.markdown)
    assert not [t for t in app.text_input if t.label == "Levels"]
    next(n for n in app.number_input if n.label == "Epochs").set_value(3).run()
    app.button(key="fuse").click().run()
    assert submitted[0][1]["recipe"]["solver"] == {"method": "gradient", "epochs": 3, "levels": "0-1,2"}


def test_clearing_the_levels_and_undo(open_page, filled) -> None:
    app = open_page("fuse", levels="0-1,2", **READY)
    next(s for s in app.selectbox if s.label == "Solver").select("gradient").run()
    app.button(key="clear-levels").click().run()
    assert "levels" not in app.query_params
    assert any("found automatically" in m.value for m in app.markdown)
    next(b for b in app.button if b.label == "Undo").click().run()
    assert not app.exception
    assert samples.url(app, "levels") == "0-1,2"
    next(b for b in app.button if b.label == "Reset to preset").click().run()
    assert "levels" not in app.query_params
    assert "--recipe kf_linear" in commands(app)
    assert "--set" not in commands(app)
