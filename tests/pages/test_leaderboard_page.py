from __future__ import annotations

from typing import Any

import pytest
import samples

from fusion_engine import store
from fusion_engine.jobs import client
from fusion_engine.store.files import write_json

READY = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}


def entry(preset: str, accuracy: float | None, seconds: float, state: str = "done", **changes: Any) -> dict[str, Any]:
    spread = None if accuracy is None else {"mean": accuracy, "std": 0.01, "min": accuracy - 0.01, "max": accuracy}
    base = {
        "preset": preset, "title": preset, "label": preset, "importance": "activation", "own": True, "state": state,
        "reason": "", "seeds": [0, 1] if accuracy else [], "planned": 2, "accuracy": spread, "loss": spread,
        "seconds": seconds if accuracy else None, "spent": seconds / 2 if accuracy else None,
        "peak_memory_mb": 500.0 if accuracy else None, "pareto": bool(accuracy), "keys": [preset] if accuracy else [],
        "recipe": {
            "name": preset, "importance": {"method": "activation"}, "grouping": {"method": "kmeans", "tries": 7},
            "solver": {"method": "least_squares"}, "post": [], "width": 1.0,
        },
    }
    return base | changes


def board(**changes: Any) -> dict[str, Any]:
    reference = {"loss": 0.2, "per_class": [], "file": None}
    row = {
        "key": "kf_linear", "seed": 0, "accuracy": 0.95, "loss": 0.1, "cost": 1.5, "warnings": ["a note"],
        "seconds": {"trace": 0.1, "solve": 0.4, "total": 0.5, "shared": 1.0},
        "shared": [{"what": "joint moments", "stage": "grouping", "seconds": 1.0}],
    }
    return {
        "entries": [
            entry("kf_linear", 0.95, 1.5), entry("average", 0.7, 0.01, pareto=False),
            entry("hf_linear", None, 0.0, "unavailable", reason="takes at most 2 parents", planned=1),
        ],
        "references": [
            {"name": "softmax_ensemble", "accuracy": 0.96, **reference},
            {"name": "average", "accuracy": 0.5, **reference},
        ],
        "pays": "Fusing pays here: kf_linear has 95.0 %, the best parent 80.0 %.",
        "parents": [{"file": "a", "accuracy": 0.8, "loss": 0.5}], "done": 6, "total": 6, "rows": [row],
    } | changes


def add_board(state: str = "done", error: str | None = None, **changes: Any) -> str:
    arguments = {**READY, "presets": "all", "importances": None, "seeds": [0, 1], "samples": 300}
    run = samples.add_run("leaderboard", arguments, state, error)
    write_json(store.run_folder(run) / "leaderboard.json", board(**changes))
    return run


def button(app, label: str):
    return next(b for b in app.button if b.label == label)


def test_parents_and_test_data_are_asked_for(open_page, filled) -> None:
    assert "no parents to compare" in [m.value for m in open_page("leaderboard").markdown][-1]
    app = open_page("leaderboard", parents=samples.PARENTS, data="digits:train")
    assert "measures on test data" in [m.value for m in app.markdown][-1]


def test_all_recipes_are_chosen_at_first(open_page, filled, submitted) -> None:
    app = open_page("leaderboard", **READY)
    app.button(key="start-board").click().run()
    assert not app.exception
    assert submitted == [("leaderboard", {
        **READY, "presets": "all", "importances": None, "seeds": [0], "samples": 400,
    })]
    assert store.read_job(samples.url(app, "board"))["kind"] == "leaderboard"


def test_choices_reach_the_job(open_page, filled, submitted) -> None:
    app = open_page("leaderboard", **READY)
    app.button_group(key="board-presets").set_value(["average"]).run()
    app.button_group(key="board-importances").set_value(["own", "conductance"]).run()
    next(n for n in app.number_input if n.label == "Seeds").set_value(3).run()
    app.button(key="start-board").click().run()
    assert submitted[0][1] | {"samples": 0} == {
        **READY, "presets": ["average"], "importances": ["own", "conductance"], "seeds": [0, 1, 2], "samples": 0,
    }
    app.button(key="board-none").click().run()
    assert app.button(key="start-board").disabled


def test_recipes_that_cannot_run_are_listed(open_page, filled) -> None:
    blind = samples.add_data("e" * 32, labelled=False)
    app = open_page("leaderboard", **READY | {"data": blind})
    titles = app.button_group(key="board-importances").options
    assert not any("conductance" in str(option) for option in titles)


def test_the_table_has_entries_and_references_best_first(open_page, filled) -> None:
    add_board()
    app = open_page("leaderboard", **READY)
    shown = next(d.value for d in app.dataframe if "Accuracy" in d.value and "Note" in d.value)
    assert list(shown["Recipe"]) == ["(Ensemble, softmax)", "kf_linear", "average", "(Plain average)", "hf_linear"]
    assert shown["Note"][4] == "cannot run: takes at most 2 parents"
    assert any(m.value == "- **hf\\_linear**: takes at most 2 parents" for m in app.markdown)
    assert shown["Spread"][1] == "± 1.00"
    assert shown["Seeds"][1] == "2 / 2"
    assert [m.value for m in app.metric][:2] == ["95.00\u202f%", "94.00 – 95.00"]
    assert any("a note" in c.value for c in app.caption)


def test_whether_fusing_pays_stands_above_the_table(open_page, filled) -> None:
    add_board()
    app = open_page("leaderboard", **READY)
    shown = [m.value.replace("\\", "") for m in app.markdown]
    assert any("Fusing pays here: kf_linear has 95.0 %, the best parent 80.0 %." in text for text in shown)


def test_another_entry_is_in_the_url(open_page, filled) -> None:
    add_board()
    app = open_page("leaderboard", entry="average", **READY)
    assert app.metric[0].value.startswith("70.00")
    app.selectbox(key="pick-board-entry").select("hf_linear").run()
    assert samples.url(app, "entry") == "hf_linear"
    assert "at most 2 parents" in app.info[0].value


def test_cancel_and_resume(open_page, filled, monkeypatch: pytest.MonkeyPatch) -> None:
    run = add_board("running", done=3)
    app = open_page("leaderboard", **READY)
    assert any("3 of 6 rows" in m.value for m in app.markdown)
    button(app, "Cancel").click().run()
    assert store.read_status(run)["state"] == "cancelled"
    assert any("Stopped after 3 of 6 rows" in m.value for m in app.markdown)
    resumed: list[str] = []
    monkeypatch.setattr(client, "resume", resumed.append)
    button(app, "Resume").click().run()
    assert resumed == [run]


def test_an_interrupted_run_says_so_and_offers_to_go_on(open_page, filled) -> None:
    add_board("failed", "interrupted: the job service stopped", done=2)
    app = open_page("leaderboard", **READY)
    assert any("interrupted" in m.value for m in app.markdown)
    assert button(app, "Resume")


def test_a_run_being_planned(open_page, filled) -> None:
    samples.add_run("leaderboard", {**READY, "seeds": [0]}, "running")
    app = open_page("leaderboard", **READY)
    assert any("planning" in m.value for m in app.markdown)


def test_a_recipe_is_taken_to_fuse(open_page, filled) -> None:
    add_board()
    app = open_page("leaderboard", **READY)
    button(app, "Open in Fuse").click().run()
    assert not app.exception
    app.switch_page("pages/fuse.py").run()
    assert not app.exception
    assert "--set grouping.tries=7" in app.code[0].value
    assert "--samples 300" in app.code[0].value


def test_csv() -> None:
    from pages.components.leaderboard.leaderboard_table import as_csv

    lines = as_csv(board()).splitlines()
    assert lines[0].startswith("recipe,importance,state,seeds,accuracy")
    assert lines[1].startswith("kf_linear,activation,done,0 1,0.95,")
    assert lines[3].endswith("takes at most 2 parents")
    assert len(lines) == 6
    assert len({line.count(",") for line in lines}) == 1


def test_with_one_seed_there_is_no_spread(open_page, filled) -> None:
    add_board(entries=[entry("kf_linear", 0.95, 1.5, planned=1, seeds=[0])])
    app = open_page("leaderboard", **READY)
    shown = next(d.value for d in app.dataframe if "Accuracy" in d.value and "Note" in d.value)
    assert not {"Spread", "Seeds"} & set(shown.columns)


def test_labels_of_points_cover_neither_points_nor_each_other() -> None:
    from pages.components.leaderboard.point_labels import HEIGHT, offsets

    points = [(100.0, 100.0), (106.0, 101.0), (112.0, 104.0), (840.0, 350.0), (2.0, 2.0)]
    texts = ["7 git_rebasin_activations", "8 ot_fusion", "6", "1 best_zero_shot", "14"]
    corners = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(points, offsets(points, texts, 860, 360), strict=True)]
    boxes = [(x, y, x + 6.5 * len(text), y + HEIGHT) for (x, y), text in zip(corners, texts, strict=True)]
    boxes += [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for i, a in enumerate(boxes):
        assert a[0] >= -4
        assert a[2] <= 860
        for b in boxes[i + 1 :]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart or i >= len(texts)  # the points themselves may be as close as they like


def test_chart_names_the_front_and_numbers_the_rest() -> None:
    from pages.components.leaderboard.front_chart import front_chart

    found = board()
    chart = front_chart(found["entries"], found["references"])
    texts = [a.text for a in chart.layout.annotations]
    assert "<b>1</b> kf_linear" in texts
    assert "2" in texts
    assert any("Ensemble, softmax" in text for text in texts)
    assert len(chart.layout.shapes) == 2


def test_a_board_of_another_metric(open_page, filled) -> None:
    found = board()
    for one in found["entries"]:
        known = one["accuracy"]
        one |= {"metric": "perplexity", "score": known and {k: 4 + v for k, v in known.items()}}
    for reference in found["references"]:
        reference["perplexity"] = 4.5
    add_board(entries=found["entries"], references=found["references"])
    app = open_page("leaderboard", **READY)
    assert not app.exception
    shown = next(d.value for d in app.dataframe if "Perplexity" in d.value and "Note" in d.value)
    figures = shown["Perplexity"].dropna()
    assert "Accuracy" not in shown
    assert len(figures) == 4
    assert list(figures) == sorted(figures)  # less is better
