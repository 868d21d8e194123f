from __future__ import annotations

import pytest
import samples

from fusion_engine import store
from fusion_engine.jobs import client


def explored(monkeypatch) -> list[dict]:
    """Answer every explore job with a finished run; embed jobs stay queued."""
    asked = []

    def submit(kind: str, arguments: dict) -> str:
        run = samples.add_run(kind, arguments, "done" if kind == "explore" else "queued")
        if kind == "explore":
            asked.append(arguments)
            samples.add_exploration(run)
        return run

    monkeypatch.setattr(client, "submit", submit)
    return asked


def test_without_parents_the_page_says_where_to_get_them(open_page, filled) -> None:
    app = open_page("explore")
    assert "There are no parents to look at yet." in [m.value for m in app.markdown]


def test_without_data_the_page_asks_for_it(open_page, filled) -> None:
    app = open_page("explore", parents=samples.PARENTS)
    assert any("choose calibration data" in m.value for m in app.markdown)


def test_without_the_service_the_page_waits(open_page, home) -> None:
    samples.add_parents()
    app = open_page("explore", parents=samples.PARENTS, data="digits:train")
    assert "**Starting the job service**" in [m.value for m in app.markdown]


def test_methods_and_space_come_from_the_url(open_page, filled, monkeypatch) -> None:
    asked = explored(monkeypatch)
    app = open_page(
        "explore", parents=samples.PARENTS, data="digits:train", importance="conductance", grouping="hungarian",
        space="fc1", neuron="7", seed="3",
    )
    assert asked == [{
        "parents": samples.PARENTS, "data": "digits:train", "seed": 3, "importance": "conductance",
        "grouping": "hungarian",
    }]
    assert app.selectbox(key="explore-space").value == "fc1"
    assert app.selectbox(key="neuron-choice").value == 7
    assert any("Showing PCA until UMAP is ready." in c.value for c in app.caption)


def test_choosing_another_method_asks_for_another_job(open_page, filled, monkeypatch) -> None:
    asked = explored(monkeypatch)
    app = open_page("explore", parents=samples.PARENTS, data="digits:train")
    app.selectbox(key="explore-grouping").select("identity").run()
    assert not app.exception
    assert [a["grouping"] for a in asked] == ["kmeans", "identity"]
    assert samples.url(app, "grouping") == "identity"


def test_groupings_that_take_two_parents_are_not_offered_to_three(open_page, filled, monkeypatch) -> None:
    explored(monkeypatch)
    three = samples.add_parents("c" * 32, count=3)
    app = open_page("explore", parents=three, data="digits:train")
    assert "hungarian method" not in app.selectbox(key="explore-grouping").options


def test_a_neuron_shows_its_passport(open_page, filled, monkeypatch) -> None:
    explored(monkeypatch)
    app = open_page("explore", parents=samples.PARENTS, data="digits:train", view="pca")
    app.selectbox(key="neuron-choice").select(8).run()
    assert not app.exception
    assert samples.url(app, "neuron") == "1:2"
    passport = " ".join(e.proto.body for e in app.get("html"))
    assert "rank" in passport
    assert "with 1 other" in passport
    near = next(t.value for t in app.dataframe if "Correlation" in t.value)
    assert near["Neuron"].tolist()[0] == "parent_1:3"


@pytest.mark.parametrize(
    ("section", "columns"),
    [
        ("Importance", ["Parent", "Neuron", "Importance", "Group", "Mean", "Std"]),
        ("Groups", ["Group", "Flags", "Importance", "Variance lost", "Cost", "parent_0", "parent_1"]),
    ],
)
def test_every_chart_has_a_table_with_its_content(open_page, filled, monkeypatch, section: str, columns: list) -> None:
    explored(monkeypatch)
    app = open_page("explore", parents=samples.PARENTS, data="digits:train", view="pca", section=section)
    assert columns in [list(t.value.columns) for t in app.dataframe]


def test_a_fusion_shows_its_own_groups(open_page, filled, submitted) -> None:
    run = samples.add_fusion()
    app = open_page("explore", parents=samples.PARENTS, data="digits:train", run=run, view="pca")
    assert not [kind for kind, _ in submitted if kind != "passport"]
    assert app.selectbox(key="explore-space").options[0].startswith("Level 0 · fc0 in level 0 (12 neurons)")


def test_a_failed_job_is_tried_once_and_offered_again(open_page, filled, monkeypatch) -> None:
    asked = []

    def submit(kind: str, arguments: dict) -> str:
        asked.append(kind)
        return samples.add_run(kind, arguments, "failed", "not enough memory")

    monkeypatch.setattr(client, "submit", submit)
    app = open_page("explore", parents=samples.PARENTS, data="digits:train")
    app.run()
    assert asked == ["explore"]
    assert app.error[0].value == "not enough memory"
    next(b for b in app.button if b.label == "Try again").click().run()
    assert asked == ["explore", "explore"]


def test_nonsense_in_the_url_does_no_harm(open_page, filled, monkeypatch) -> None:
    explored(monkeypatch)
    app = open_page(
        "explore", parents=samples.PARENTS, data="digits:train", neuron="-5", group="999", space="<b>", view="3d",
        grouping="nothing",
    )
    assert not app.error
    assert store.list_runs("explore")[0]["arguments"]["grouping"] == "kmeans"
