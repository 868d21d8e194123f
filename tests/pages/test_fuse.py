from __future__ import annotations

import samples

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from fusion_engine.store.files import write_json

READY = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}


def commands(app) -> str:
    return app.code[0].value


def test_without_parents_the_page_says_where_to_get_them(open_page, filled) -> None:
    app = open_page("fuse")
    assert "There are no parents to fuse yet." in [m.value for m in app.markdown]


def test_a_preset_runs_by_its_name(open_page, filled, submitted) -> None:
    app = open_page("fuse", **READY)
    app.button(key="fuse").click().run()
    assert not app.exception
    assert submitted == [("fuse", {
        "parents": samples.PARENTS, "data": "digits:train", "test": "digits:test", "recipe": "kf_linear",
        "samples": 400, "seed": 0,
    })]
    assert store.read_job(samples.url(app, "job"))["kind"] == "fuse"


def test_the_command_follows_the_form(open_page, filled) -> None:
    app = open_page("fuse", **READY)
    assert "--recipe kf_linear" in commands(app)
    assert "--set" not in commands(app)
    next(n for n in app.number_input if n.label == "Tries").set_value(7).run()
    assert "--recipe kf_linear --set grouping.tries=7" in commands(app)
    assert "tries: 7" in app.code[1].value
    next(s for s in app.selectbox if s.label == "Grouping").select("identity").run()
    assert "--recipe recipe.yaml" in commands(app)


def test_undo_and_reset(open_page, filled) -> None:
    app = open_page("fuse", **READY)
    for tries in (5, 9):
        next(n for n in app.number_input if n.label == "Tries").set_value(tries).run()
    next(b for b in app.button if b.label == "Undo").click().run()
    assert next(n for n in app.number_input if n.label == "Tries").value == 5
    next(b for b in app.button if b.label == "Reset to preset").click().run()
    assert next(n for n in app.number_input if n.label == "Tries").value == 3
    assert "--set" not in commands(app)
    next(b for b in app.button if b.label == "Undo").click().run()
    assert next(n for n in app.number_input if n.label == "Tries").value == 5


def test_a_word_or_a_number(open_page, filled) -> None:
    app = open_page("fuse", **READY)
    assert not [n for n in app.number_input if n.label == "Ridge: value"]
    next(s for s in app.selectbox if s.label == "Ridge").select(...).run()
    next(n for n in app.number_input if n.label == "Ridge: value").set_value(0.5).run()
    assert "--set solver.ridge=0.5" in commands(app)


def test_a_value_by_space(open_page, filled, submitted) -> None:
    app = open_page("fuse", **READY)

    def fused(text: str) -> object:
        next(t for t in app.text_input if t.label == "Ratio of single spaces").set_value(text).run()
        app.button(key="fuse").click().run()
        return submitted[-1][1]["recipe"]["grouping"].get("ratio")

    next(s for s in app.selectbox if s.label == "Grouping").select("partial").run()
    next(n for n in app.number_input if n.label == "Ratio").set_value(0.7).run()
    assert fused("") == 0.7
    assert fused("features.0: 0.2, fc1: 1") == {"others": 0.7, "features.0": 0.2, "fc1": 1.0}
    assert "features.0: 0.2" in app.code[1].value
    assert not app.error
    for wrong, words in ("fc1: 3", "too large"), ("fc1: [", "write it as space"), ("fc1", "not of type float"):
        assert fused(wrong) == 0.7
        assert words in app.error[0].value


def test_steps_after_the_solve(open_page, filled, submitted) -> None:
    app = open_page("fuse", **READY)
    app.multiselect[0].select("polish").run()
    app.button(key="fuse").click().run()
    assert submitted[0][1]["recipe"]["post"] == [{"method": "polish"}]


def test_impossible_recipes_are_refused_in_one_line(open_page, filled, submitted) -> None:
    three = samples.add_parents("c" * 32, count=3, known=False)
    app = open_page("fuse", parents=three, data=samples.add_data("e" * 32, labelled=False))

    def choose(label: str, value: str) -> str:
        next(s for s in app.selectbox if s.label == label).select(value).run()
        assert not app.exception
        return app.warning[0].value if app.warning else ""

    assert "at most 2 parents; you have 3" in choose("Grouping", "hungarian")
    assert choose("Grouping", "kmeans") == ""
    assert "needs labels" in choose("Importance", "conductance")
    assert choose("Importance", "activation") == ""
    assert "class counts" in choose("Head_weights", "class_share")
    assert "works with the groupings hungarian only" in choose("Solver", "picky")
    assert app.button(key="fuse").disabled
    assert submitted == []


def test_the_preset_is_in_the_url(open_page, filled) -> None:
    app = open_page("fuse", recipe="average", **READY)
    assert "--recipe average" in commands(app)
    app.radio(key="preset").set_value("kf_linear").run()
    assert samples.url(app, "recipe") == "kf_linear"
    assert "--recipe kf_linear" in commands(app)


def test_a_reload_finds_the_running_job(open_page, filled) -> None:
    run = samples.add_run("fuse", {"parents": samples.PARENTS, "recipe": "kf_linear"}, "running")
    app = open_page("fuse", job=run, **READY)
    assert any(m.value.startswith("**Fusing**") for m in app.markdown)


def test_a_running_job_is_shown_before_the_form_is_drawn(open_page, filled, monkeypatch) -> None:
    def stuck(*_):
        raise FusionError("no form yet")

    monkeypatch.setattr("pages.components.recipe.preset_cards.choose_preset", stuck)
    run = samples.add_run("fuse", {"parents": samples.PARENTS, "recipe": "kf_linear"}, "running")
    app = open_page("fuse", **READY, job=run)
    assert [e.value for e in app.error] == ["no form yet"]
    assert app.button(key=f"cancel-{run}").label == "Cancel"


def test_a_new_job_takes_the_place_of_the_one_that_was_shown(open_page, filled, submitted) -> None:
    earlier = samples.add_run("fuse", {"parents": samples.PARENTS, "recipe": "kf_linear"}, "running")
    app = open_page("fuse", **READY, job=earlier)
    app.button(key="fuse").click().run()
    assert not app.exception
    assert samples.url(app, "job") != earlier
    assert f"cancel-{earlier}" not in [button.key for button in app.button]


def test_the_result_is_summed_up(open_page, filled) -> None:
    run = samples.add_fusion()
    app = open_page("fuse", job=run, **READY)
    shown = {m.label: m.value for m in app.metric}
    assert shown["Fused"].startswith("91.2")
    assert shown["Best parent"].startswith("80.0")
    assert samples.url(app, "run") == run


def test_a_failed_job_shows_its_line(open_page, filled) -> None:
    run = samples.add_run("fuse", {"parents": samples.PARENTS}, "failed", "parent 1 has NaN weights in fc0")
    app = open_page("fuse", job=run, **READY)
    assert "NaN weights" in app.error[0].value


def test_another_width(open_page, filled, submitted) -> None:
    app = open_page("fuse", **READY)
    next(n for n in app.number_input if n.label == "Width").set_value(0.5).run()
    assert "--set width=0.5" in commands(app)
    next(s for s in app.selectbox if s.label == "Grouping").select("hungarian").run()
    assert "keeps the width" in app.warning[0].value
    next(s for s in app.selectbox if s.label == "Grouping").select("kmeans").run()
    app.button(key="fuse").click().run()
    assert submitted[0][1]["recipe"]["width"] == 0.5


def test_steps_that_cannot_follow(open_page, filled) -> None:
    unlabelled = samples.add_data("e" * 32, labelled=False)
    app = open_page("fuse", parents=samples.PARENTS, data=unlabelled)
    app.multiselect[0].select("learn").run()
    assert "needs labels" in app.warning[0].value
    app = open_page("fuse", **READY)
    app.multiselect[0].select("learn").run()
    assert "follows the solvers average only" in app.warning[0].value


def test_samples_that_are_not_there_are_not_taken(open_page, filled, submitted) -> None:
    def taken(asked: str, data: str = "digits:train") -> tuple[int | None, str]:
        app = open_page("fuse", **READY | {"samples": asked, "data": data})
        app.button(key="fuse").click().run()
        assert not app.exception
        return submitted[-1][1]["samples"], " ".join(c.value for c in app.caption)

    few = samples.add_data("e" * 32, labelled=False)
    for asked, data, number, note in (
        ("3", "digits:train", 10, "3 are too few"), ("90000", "digits:train", 1258, "are taken, not 90,000"),
        ("90", few, 30, "There are 30 samples"), ("90", "digits:train", 90, ""),
    ):
        found, said = taken(asked, data)
        assert found == number
        assert note in said
        assert bool(note) == ("taken" in said)
    assert taken("all")[0] is None


def test_a_changed_recipe_survives_a_reload(open_page, filled) -> None:
    app = open_page("fuse", **READY)
    assert samples.url(app, "draft") is None
    next(n for n in app.number_input if n.label == "Tries").set_value(7).run()
    kept = samples.url(app, "draft")
    again = open_page("fuse", draft=kept, **READY)
    assert "--set grouping.tries=7" in commands(again)
    next(b for b in again.button if b.label == "Reset to preset").click().run()
    assert samples.url(again, "draft") is None
    for nonsense in ("x", "0" * 32):
        assert "--set" not in commands(open_page("fuse", draft=nonsense, **READY))
    assert "--recipe average" in commands(open_page("fuse", draft=kept, recipe="average", **READY))


def test_methods_from_another_page_become_a_recipe(open_page, filled) -> None:
    app = open_page("fuse", methods="conductance,kmeans", **READY)
    assert "--recipe recipe.yaml" in commands(app)
    assert "conductance" in app.code[1].value
    assert samples.url(app, "methods") is None
    assert samples.url(app, "recipe") == "kf_linear"
    app = open_page("fuse", methods="activation,hungarian", **READY)
    assert "--recipe pairs" in commands(app)
    app = open_page("fuse", methods="nonsense", **READY)
    assert "--recipe kf_linear" in commands(app)


def test_classes_that_the_data_lacks_are_said_before_the_fusion(open_page, filled) -> None:
    app = open_page("fuse", **READY | {"data": samples.DATA})
    assert "no samples of class 2, 3" in app.warning[0].value
    assert not app.button(key="fuse").disabled


def test_a_result_of_another_task_is_shown_by_its_metric(open_page, filled) -> None:
    run = samples.add_fusion()
    found = store.read_report(run)
    for entry in (*found["parents"], *(found[key] for key in ("average", "ensemble", "fused"))):
        entry |= {"r2": 0.5, "accuracy": None, "per_class": []}
    found["task"] = {"name": "regression", "metric": "r2", "why": "the labels are real numbers"}
    del found["softmax_ensemble"]
    write_json(store.run_folder(run) / "report.json", found)
    app = open_page("fuse", job=run, **READY)
    assert not app.exception
    shown = {m.label: m.value for m in app.metric}
    assert shown["Fused, R²"] == shown["Best parent"] == shown["Ensemble"] == "0.500"
