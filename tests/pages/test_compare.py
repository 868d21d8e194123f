from __future__ import annotations

import pytest
import samples

from fusion_engine import store
from fusion_engine.store.files import write_json


def test_an_empty_store_says_what_to_do(open_page, filled) -> None:
    app = open_page("compare")
    assert "No network has been fused yet." in [m.value for m in app.markdown]


def test_failed_runs_are_not_offered(open_page, filled) -> None:
    samples.add_run("fuse", {"parents": samples.PARENTS, "recipe": "average"}, "failed", "no")
    app = open_page("compare")
    assert "No network has been fused yet." in [m.value for m in app.markdown]


def test_one_run_against_its_references(open_page, filled) -> None:
    app = open_page("compare", run=samples.add_fusion())
    row = app.dataframe[0].value.iloc[0]
    assert row["Fused"].startswith("91.20")
    assert row["Mean parent"].startswith("75.00")
    assert row["Ensemble, softmax"].startswith("93.00")


def test_what_a_fusion_takes_counts_what_was_known_before(open_page, filled) -> None:
    run = samples.add_fusion()
    known = [{"what": "importance of a", "stage": "importance", "seconds": 4.0},
             {"what": "outputs of the references", "stage": "evaluate", "seconds": 9.0}]
    report = samples.report()
    report |= {"shared": known, "seconds": {**report["seconds"], "shared": 4.0}}
    write_json(store.run_folder(run) / "report.json", report)
    app = open_page("compare", run=run)
    assert app.dataframe[0].value.iloc[0]["Takes"].startswith("4.7")
    stages = next(t.value for t in app.dataframe if "evaluate" in t.value).iloc[0]
    assert (stages["importance"][:3], stages["evaluate"][:3]) == ("4.2", "9.0")


def test_two_runs_show_where_their_recipes_differ(open_page, filled) -> None:
    one, two = samples.add_fusion(), samples.add_fusion(0.6, recipe="average", seed=1)
    other = samples.report(0.6)
    other["recipe"] = {**other["recipe"], "name": "average", "grouping": {"method": "identity"}}
    write_json(store.run_folder(two) / "report.json", other)
    app = open_page("compare", runs=f"{one},{two}")
    tables = [t.value for t in app.dataframe]
    assert len(tables[0]) == 2
    settings = next(t for t in tables if "Setting" in t)
    assert settings["Setting"].tolist() == ["grouping.method", "grouping.tries"]
    per_class = next(t for t in tables if "Network" in t)
    assert per_class["Network"].tolist()[-2:] == ["Fused: kf_linear", "Fused: average"]


def test_delete_and_undo(open_page, filled) -> None:
    run = samples.add_fusion()
    app = open_page("compare", run=run)
    app.button(key=f"delete-{run}").click().run()
    assert not app.exception
    assert store.list_runs("fuse") == []
    app.button(key="undo-delete").click().run()
    assert not app.exception
    assert [r["id"] for r in store.list_runs("fuse")] == [run]
    assert len(app.dataframe) > 0


def test_a_run_without_test_data(open_page, filled) -> None:
    app = open_page("compare", run=samples.add_fusion(None, test=None))
    assert "nothing was measured" in app.info[0].value


def test_a_damaged_report_is_one_line(open_page, filled) -> None:
    run = samples.add_fusion()
    (store.run_folder(run) / "report.json").write_text("{")
    app = open_page("compare", run=run)
    assert "damaged" in app.error[0].value


def resized(relative: float, parameters: int, accuracy: float, **arguments) -> str:
    run = samples.add_fusion(accuracy, **arguments)
    width = {"relative": relative, "parameters": parameters, "parents_parameters": [411, 411]}
    write_json(store.run_folder(run) / "report.json", samples.report(accuracy) | {"width": width})
    return run


def test_runs_of_different_width_show_accuracy_against_size(open_page, filled) -> None:
    runs = [resized(1.0, 411, 0.9), resized(0.5, 200, 0.8, seed=1)]
    app = open_page("compare", runs=",".join(runs))
    table = next(t.value for t in app.dataframe if "Width" in t.value)
    assert table["Width"].tolist() == ["0.5 ×", "1 ×"]
    assert table["Parameters"].tolist() == [200, 411]
    assert "Accuracy and size" in [h.value for h in app.header]


def test_runs_of_one_width_or_of_other_parents_show_no_sizes(open_page, filled) -> None:
    other = samples.add_parents("b" * 32, "another")
    alike = [resized(1.0, 411, 0.9), resized(1.0, 411, 0.8, seed=1), resized(0.5, 200, 0.7, parents=other)]
    app = open_page("compare", runs=",".join(alike))
    assert not app.exception
    assert "Accuracy and size" not in [h.value for h in app.header]


def test_spaces_that_fell_back_are_listed_with_the_reason(open_page, filled) -> None:
    run = samples.add_fusion()
    told = [
        {"name": "fc0", "size": 6, "freedom": "perm", "grouping": "kmeans", "fallback": ""},
        {"name": "heads", "size": 4, "freedom": "perm", "grouping": "hungarian", "fallback": "heads move as wholes"},
    ]
    write_json(store.run_folder(run) / "report.json", samples.report() | {"spaces": told})
    app = open_page("compare", run=run)
    table = next(t.value for t in app.dataframe if "Why" in t.value)
    assert table.to_dict("records") == [
        {"Space": "heads", "Neurons": 4, "Grouped by": "hungarian", "Why": "heads move as wholes"}
    ]
    assert any("**1 space fell back**" in m.value for m in app.markdown)


@pytest.mark.parametrize(
    ("metric", "title", "value", "shown"), [("r2", "R²", 0.5, "0.500"), ("perplexity", "Perplexity", 4.25, "4.25")]
)
def test_other_tasks_are_shown_by_their_metric(
    open_page, filled, metric: str, title: str, value: float, shown: str
) -> None:
    run = samples.add_fusion()
    found = store.read_report(run)
    entries = [*found["parents"], *(found[key] for key in ("average", "ensemble", "softmax_ensemble", "fused"))]
    for entry in entries:
        entry |= {metric: value, "accuracy": None if metric == "r2" else entry["accuracy"], "per_class": []}
    found["task"] = {"name": "other", "metric": metric, "why": "told by the labels"}
    write_json(store.run_folder(run) / "report.json", found)
    app = open_page("compare", run=run)
    assert not app.exception
    assert app.header[0].value == title
    row = app.dataframe[0].value.iloc[0]
    assert row["Fused"] == row["Best parent"] == row["Mean parent"] == shown
    assert any("told by the labels" in caption.value for caption in app.caption)
