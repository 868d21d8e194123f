from __future__ import annotations

import samples
from analysis_samples import add_analysis

from fusion_engine import store
from pages.components.lesson.chapters import CHAPTERS

ARGUMENTS = {
    "parents": samples.PARENTS, "data": "digits:test", "run": None, "align": "hungarian", "samples": 1000, "seed": 0
}


def tables(app) -> list[list[str]]:
    return [list(table.value.columns) for table in app.dataframe]


def texts(app) -> str:
    return " ".join(m.value for m in [*app.markdown, *app.caption])


def test_without_parents_or_data_the_page_says_where_to_get_them(open_page, filled) -> None:
    assert "There are no parents to analyse yet." in texts(open_page("analyse"))
    assert "An analysis measures the parents on data" in texts(open_page("analyse", parents=samples.PARENTS))


def test_nothing_runs_before_it_is_asked_for(open_page, filled, submitted) -> None:
    app = open_page("analyse", parents=samples.PARENTS, data="digits:train", test="digits:test")
    assert submitted == []
    app.button(key="analyse").click().run()
    assert not app.exception
    assert submitted == [("analyse", ARGUMENTS | {"samples": None})]  # there are no 1,000
    assert samples.url(app, "analysis") == store.list_runs("analyse")[0]["id"]
    assert "Waiting for a free worker." in texts(app)


def test_the_fusion_in_the_url_is_chosen_and_the_settings_are_remembered(open_page, filled, submitted) -> None:
    older = samples.add_fusion()
    samples.add_fusion()
    other = samples.add_parents("c" * 32, count=3)
    samples.add_fusion(parents=other)
    app = open_page("analyse", parents=samples.PARENTS, data="digits:train", run=older, take="all", seed="4")
    assert app.selectbox(key="analyse-fusion").value == older
    assert len(app.selectbox(key="analyse-fusion").options) == 3  # two of these parents, and none
    app.button(key="analyse").click().run()
    assert submitted[0][1] | {"data": "digits:train"} == ARGUMENTS | {
        "data": "digits:train", "run": older, "samples": None, "seed": 4
    }


def test_a_fusion_analysed(open_page, filled) -> None:
    fusion = samples.add_fusion()
    run = add_analysis({**ARGUMENTS, "run": fusion})
    app = open_page("analyse", parents=samples.PARENTS, data="digits:train", run=fusion, analysis=run)
    assert [h.value for h in app.header] == [
        "Where accuracy is lost", "What each parent knows", "Lines between networks", "How alike their features are"
    ]
    assert app.header[0].value in next(chapter.answer for chapter in CHAPTERS if chapter.key == "break")
    assert {m.label: m.value for m in app.metric} == {
        "Ensemble": "95.0\u202f%", "Fused network": "90.0\u202f%", "Barrier as they are": "0.800",
        "Barrier aligned": "0.000",
    }
    said = texts(app)
    assert "The largest step down is level **fc0**: 4.0 points." in said
    assert "Only **parent\\_0** knows class 0." in said
    assert "No parent knows class 2." in said
    assert "<b>" not in said  # names and notes are shown literally
    found = tables(app)
    for columns in (
        ["After level", "Ensemble", "Merged features", "Fused features", "Grouping loss", "Approximation loss"],
        ["Way", "Accuracy", "Loss", "Accuracy, aligned", "Loss, aligned"],
        ["Level", "Alone", "Alone, aligned", "Up to it", "Up to it, aligned"],
        ["Space", "Parents", "Linear CKA", "SVCCA", "Mean CCA", "Distance correlation"],
    ):
        assert columns in found
    assert len(app.get("plotly_chart")) == 6


def test_another_pair_and_another_measure(open_page, filled) -> None:
    three = samples.add_parents("c" * 32, count=3)
    run = add_analysis({**ARGUMENTS, "parents": three}, parents=3, fused=False)
    app = open_page(
        "analyse", parents=three, data="digits:test", analysis=run, pair="1", measure="partial_distance_correlation"
    )
    assert app.selectbox(key="analyse-pair").value == 1
    assert "Where accuracy is lost" not in [h.value for h in app.header]
    app.selectbox(key="analyse-pair").select(0).run()
    assert not app.exception
    assert samples.url(app, "pair") == "0"
    assert "Partial: with what both share" in texts(app)


def test_what_is_shown_says_when_the_settings_are_others(open_page, filled) -> None:
    run = add_analysis(ARGUMENTS, fused=False)
    same = {"parents": samples.PARENTS, "data": "digits:test", "analysis": run}
    assert "The settings have changed" not in texts(open_page("analyse", **same))
    assert "The settings have changed" in texts(open_page("analyse", **same, take="400"))


def test_more_samples_than_there_are_become_all_with_a_note(open_page, filled) -> None:
    app = open_page("analyse", parents=samples.PARENTS, data="digits:test", take="4000")
    assert app.selectbox(key="analyse-take").options == ["400", "All"]
    assert app.selectbox(key="analyse-take").value == 0  # all: of None the list says that nothing is chosen
    assert "There are 539: all are taken." in texts(app)
    assert "all are taken" not in texts(open_page("analyse", parents=samples.PARENTS, data="digits:test", take="400"))


def test_a_failed_analysis_says_why_and_can_be_tried_again(open_page, filled, submitted) -> None:
    run = samples.add_run("analyse", ARGUMENTS, "failed", "the data has no labels")
    app = open_page("analyse", parents=samples.PARENTS, data="digits:test", analysis=run)
    assert app.error[0].value == "the data has no labels"
    next(b for b in app.button if b.label == "Try again").click().run()
    assert [kind for kind, _ in submitted] == ["analyse"]


def test_nonsense_in_the_url_does_no_harm(open_page, filled) -> None:
    fusion = samples.add_fusion()
    run = add_analysis(ARGUMENTS)
    for changes in ({"analysis": "nothing"}, {"analysis": fusion}, {"pair": "99"}, {"measure": "<b>", "take": "-1"}):
        parameters = {"parents": samples.PARENTS, "data": "digits:test", "analysis": run} | changes
        assert not open_page("analyse", **parameters, align="x", fusion="y").error


def test_a_fusion_is_analysed_from_where_fusions_are_compared(open_page, filled) -> None:
    run = samples.add_fusion()
    app = open_page("compare", runs=run)
    app.button(key=f"analyse-{run}").click().run()
    assert not app.exception
    remembered = app.session_state["url"]  # what the page finds in its address
    app = open_page("analyse", **{k: v for k, v in remembered.items() if k != "runs"})
    assert app.selectbox(key="analyse-fusion").value == run
    assert app.selectbox(key="pick-on").value == "digits:test"
