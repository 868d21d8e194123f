"""A closer look on the page Compare: intervals and tests, confusion, disagreements, error budget, flows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import samples
from scipy import stats

from fusion_engine import store
from fusion_engine.store.files import write_bytes, write_json
from pages.components.compare import confusion, disagreements, waterfall, went

N, CLASSES = 60, 3
NETWORKS = ("parents/0", "parents/1", "average", "ensemble", "softmax_ensemble", "fused")


@pytest.fixture
def answers() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, N)
    predicted = []
    for right in (0.8, 0.6, 0.3, 0.9, 0.9, 0.95):
        wrong = (labels + random.integers(1, CLASSES, N)) % CLASSES
        predicted.append(np.where(random.random(N) < right, labels, wrong))
    return {
        "networks": np.array(NETWORKS), "labels": labels.astype(np.int32),
        "predicted": np.stack(predicted).astype(np.int32), "confidence": random.random((6, N)).astype(np.float16),
    }


def add(answers: dict[str, np.ndarray], keep: bool = True, **arguments: Any) -> str:
    """A run whose report and answers belong together."""
    run = samples.add_fusion(**arguments)
    report, labels = samples.report(), answers["labels"]
    for name, said in zip(NETWORKS, answers["predicted"], strict=True):
        kind, _, number = name.partition("/")
        counts = np.zeros((CLASSES, CLASSES), int)
        np.add.at(counts, (labels, said), 1)
        entry = report[kind][int(number)] if number else report[kind]
        entry |= {"accuracy": float((said == labels).mean()), "confusion": counts.tolist(),
                  "per_class": (counts.diagonal() / counts.sum(1)).tolist()}
    report["test"] = {"name": "digits:test", "samples": N, "digest": "0"}
    write_json(store.run_folder(run) / "report.json", report)
    if keep:
        buffer = io.BytesIO()
        np.savez(buffer, **answers)
        write_bytes(store.run_folder(run) / "predictions.npz", buffer.getvalue())
    return run


def found(app, column: str):
    return next(t.value for t in app.dataframe if column in t.value)


def test_accuracies_have_intervals_and_differences_a_test(open_page, filled, answers) -> None:
    run = add(answers)
    app = open_page("compare", run=run)
    rows = found(app, "95 % interval").set_index("Network")
    right = answers["predicted"] == answers["labels"]
    low, high = stats.binomtest(int(right[-1].sum()), N).proportion_ci(method="wilson")
    assert rows.loc["Fused", "95 % interval"] == f"{100 * low:.1f}–{100 * high:.1f}"
    b, c = int((right[1] & ~right[-1]).sum()), int((right[-1] & ~right[1]).sum())
    p = stats.binomtest(b, b + c).pvalue
    assert rows.loc["parent_1", "Against the first"] == f"{100 * (b - c) / N:+.2f} points"
    assert rows.loc["parent_1", "Difference"] == ("worse" if p < 0.05 else "within noise")
    assert app.dataframe[0].value.iloc[0]["Fused"].endswith(f"({100 * low:.1f}–{100 * high:.1f})")
    assert any("McNemar's exact test, p = " in m.value for m in app.markdown)


def test_runs_without_answers_can_be_measured_again(open_page, filled, answers, submitted) -> None:
    run = add(answers, keep=False)
    app = open_page("compare", run=run)
    assert found(app, "95 % interval")["Difference"].tolist()[1:] == ["not tested"] * 5
    app.button(key=f"measure-{run}").click().run()
    assert submitted == [("evaluate", {"run": run, "data": "digits:test"})]


def test_confusion_matrices_of_two_networks(open_page, filled, answers) -> None:
    run = add(answers)
    app = open_page("compare", run=run, closer="confusion", left=f"{run}.ensemble")
    mistakes = found(app, "Taken for")
    counts = store.read_report(run)["ensemble"]["confusion"]
    first = mistakes.iloc[0]
    assert first["Ensemble, logits"].startswith(f"{counts[first['True class']][first['Taken for']]} of ")
    assert not app.exception
    chart = confusion.picture(np.array([[9, 1], [0, 0]]))
    assert list(chart.data[0].z[0]) == [90.0, 10.0]
    assert confusion.mistakes([np.array([[5, 2], [3, 4]]), np.array([[5, 0], [9, 4]])]) == [
        (1, 0, [3, 9]), (0, 1, [2, 0])
    ]


def test_networks_that_tell_other_classes_have_no_common_mistakes(open_page, filled, answers) -> None:
    one, two = add(answers), add(answers, test=samples.DATA)
    report = store.read_report(two)
    report["fused"]["confusion"] = [[9, 1, 0, 0], [0, 9, 0, 1], [0, 0, 9, 0], [0, 0, 0, 9]]
    write_json(store.run_folder(two) / "report.json", report)
    app = open_page("compare", runs=f"{one},{two}", mix="1", closer="confusion", right=f"{two}.fused")
    assert any("different numbers of classes (3 and 4)" in i.value for i in app.info)
    assert not any("Taken for" in t.value for t in app.dataframe)


def test_disagreements_are_read_part_by_part_and_every_network_has_a_column(
    open_page, filled, answers, monkeypatch
) -> None:
    monkeypatch.setattr(disagreements, "SHOWN", 2)
    one, two = add(answers), add(answers)
    for run, middle in ((one, "first"), (two, "second")):
        store.describe_run(run, name=f"a fusion of four {middle} networks of digits")  # alike where names are cut
    where = {"runs": f"{one},{two}", "closer": "disagreements"}
    app = open_page("compare", **where, part="2")
    assert app.number_input(key="compare-part").value == 2
    assert sum(column.startswith("Fused") for column in found(app, "Sample").columns) == 2
    app.number_input(key="compare-part").set_value(3).run()
    assert samples.url(app, "part") == "3"
    app.segmented_control(key="compare-show").set_value("all").run()
    assert samples.url(app, "part") is None
    assert open_page("compare", **where, part="999").number_input(key="compare-part").value > 3


def test_disagreements_with_the_samples(open_page, filled, answers, submitted) -> None:
    run = add(answers)
    app = open_page("compare", run=run, closer="disagreements")
    right = answers["predicted"] == answers["labels"]
    only_a, only_b = int((right[-1] & ~right[0]).sum()), int((right[0] & ~right[-1]).sum())
    assert any(f"Only A is right on **{only_a}**, only B on **{only_b}**" in m.value for m in app.markdown)
    assert found(app, "B wrong")["B wrong"].tolist() == [only_a, int((~right[-1] & ~right[0]).sum())]
    kind, arguments = submitted[-1]
    assert (kind, arguments["data"], len(arguments["indices"])) == ("samples", "digits:test", only_a)
    asked = np.array(arguments["indices"])
    assert (right[-1] & ~right[0])[asked].all()
    sure = answers["confidence"][[0, -1]].max(0)[asked]
    assert (np.diff(sure) <= 0).all()
    every = found(app, "parent_1")
    assert every["Sample"].tolist() == asked.tolist()
    assert all("✓" in said for said in every["Fused"])
    assert all("✗" in said for said in every["parent_0"])


def budget() -> dict[str, Any]:
    def level(index: int, grouped: float, fused: float) -> dict[str, Any]:
        return {"index": index, "name": f"fc{index}", "grouped": {"accuracy": grouped}, "fused": {"accuracy": fused},
                "grouping_loss": 0.95 - grouped, "approximation_loss": grouped - fused}

    return {"head_weights": "uniform", "ensemble": {"accuracy": 0.95}, "fused": {"accuracy": 0.9},
            "levels": [level(0, 0.93, 0.91), level(1, 0.94, 0.88), level(2, 0.95, 0.9)]}


def test_the_waterfall_adds_up() -> None:
    bars = waterfall.steps(budget(), 0.8)
    assert [name for name, _, _ in bars] == ["Best parent", "Joining answers", "Ensemble", "fc0", "fc1", "fc2", "Fused"]
    values = [value for _, value, _ in bars]
    assert values[0] + values[1] == pytest.approx(values[2])
    assert values[2] + sum(values[3:6]) == pytest.approx(values[6])
    many = [("a", 0.9, "total"), *((f"l{i}", 0.001 * (-1) ** i, "step") for i in range(40)), ("b", 0.9, "total")]
    drawn = waterfall.folded(many)
    assert len(drawn) == 26
    assert sum(v for _, v, k in drawn if k == "step") == pytest.approx(0)


def test_the_error_budget_is_measured_once_asked_for(open_page, filled, answers, submitted) -> None:
    run = add(answers)
    app = open_page("compare", run=run, closer="budget")
    app.button(key=f"budget-{run}").click().run()
    kind, arguments = submitted[-1]
    assert (kind, arguments["what"], arguments["run"]) == ("analyse", ["budget"], run)
    made = samples.add_run("analyse", arguments)
    result = {"budget": budget(), "samples": N, "notes": ["a note"]}
    write_json(store.run_folder(made) / "result.json", result)
    app = open_page("compare", run=run, closer="budget")
    assert found(app, "Step")["Step"].tolist() == ["-4.0 points", "-3.0 points", "2.0 points"]
    assert found(app, "Step")["Noise"].tolist() == ["within noise"] * 3
    assert any("largest loss is at level **fc0**: 4.0 points" in m.value for m in app.markdown)


def test_where_neurons_went_counts_all_of_them(open_page, filled, answers) -> None:
    members = np.array([[1, 1, 1], [2, 1, 0], [3, 0, 0], [0, 1, 0], [0, 0, 0]])
    flows = went.where_to(members, [7, 3, 2])
    assert flows.tolist() == [[1, 2, 3, 0, 1], [1, 1, 0, 1, 0], [1, 0, 0, 0, 1]]
    assert flows.sum(1).tolist() == [7, 3, 2]
    assert went.where_to(np.array([[1, 1], [2, 0]]), [3, 1]).tolist() == [[1, 0, 2, 0, 0], [1, 0, 0, 0, 0]]
    run = add(answers)
    app = open_page("compare", run=run, closer="neurons")
    rows = next(t.value for t in app.dataframe if "With every parent" in t.value and "Space" not in t.value)
    assert rows["Parent"].tolist() == ["parent_0", "parent_1"]
    assert rows["With every parent"].tolist()[0].startswith("12 ·")
    app = open_page("compare", run=run, closer="neurons", gone="fc1")
    rows = next(t.value for t in app.dataframe if "With every parent" in t.value and "Space" not in t.value)
    assert rows["With every parent"].tolist()[0].startswith("6 ·")
