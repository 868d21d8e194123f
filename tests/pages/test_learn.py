"""Learn, a chapter at a time, and what every page has for a class: the tour, presentation mode, words."""

from __future__ import annotations

import pytest
import samples
import streamlit as st

from fusion_engine import store
from fusion_engine.demo import demo_files
from fusion_engine.store.files import write_json
from fusion_engine.teaching import shipped_lesson
from pages.components.guide.steps import STEPS
from pages.components.lesson import digit_view
from pages.components.lesson.chapters import CHAPTERS, KEYS
from pages.components.shared import glossary, theme
from pages.components.shared.addresses import ICONS


def html(app) -> str:
    return " ".join(e.proto.body for e in app.get("html"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.key)
def test_a_chapter_has_its_link_a_picture_and_a_question_that_is_answered(open_page, chapter) -> None:
    app = open_page("learn", chapter=chapter.key)
    assert app.title[0].value == chapter.title
    assert glossary.marked(chapter.lead) in html(app)
    pictures = app.get("bidi_component")
    assert len(pictures) == (0 if chapter.key == "digit" else 1)
    question = app.radio(key=f"answer-{chapter.key}")
    assert question.value is None
    assert not app.success
    question.set_value(chapter.options[chapter.right]).run()
    assert glossary.bare(chapter.answer) in app.success[0].value
    assert "[" not in app.success[0].value
    wrong = chapter.options[(chapter.right + 1) % len(chapter.options)]
    app.radio(key=f"answer-{chapter.key}").set_value(wrong).run()
    assert not app.success
    assert chapter.options[chapter.right] in app.info[0].value


def test_the_figures_stand_in_a_table_as_the_engine_measured_them(open_page) -> None:
    app = open_page("learn", chapter="average", problem="moons")
    (table,) = app.dataframe
    lesson = shipped_lesson("moons")
    rows = table.value.set_index(["Network", "Parents"])["Accuracy %"]
    assert rows["Parent A", 1] == round(100 * lesson["parents"][0]["accuracy"], 1)
    assert rows["Pairs, solved", 3] == round(100 * lesson["fused"]["3"]["pairs_solved"]["accuracy"], 1)
    assert f"barrier {lesson['path']['as_is']['barrier']:.2f} nats" in app.caption[-1].value


def test_chapters_lead_to_each_other_and_leave_their_control_behind(open_page) -> None:
    app = open_page("learn", chapter="average", at="12")
    app.button(key="chapter-next").click().run()
    assert samples.url(app, "chapter") == "match"
    assert "at" not in app.query_params
    app.button(key="chapter-back").click().run()
    assert app.title[0].value == CHAPTERS[KEYS.index("average")].title


def test_an_address_with_nonsense_shows_the_first_chapter(open_page) -> None:
    app = open_page("learn", chapter="<b>", problem="nothing", at="'); drop")
    assert app.title[0].value == CHAPTERS[0].title
    assert not app.error


def test_points_of_ones_own_are_followed_while_they_are_trained_on(open_page) -> None:
    run = samples.add_run("lesson", {"points": []}, "running")
    app = open_page("learn", chapter="average", drawn=run, problem="own")
    assert not app.get("bidi_component")
    assert any(button.key == f"cancel-{run}" for button in app.button)
    write_json(store.run_folder(run) / "result.json", shipped_lesson("rings") | {"problem": "drawn", "fresh": False})
    store.write_status(run, "done")
    app = open_page("learn", chapter="average", drawn=run, problem="own")
    assert len(app.get("bidi_component")) == 1
    assert "the points they were trained on" in app.caption[-1].value


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_points_of_a_training_that_came_to_nothing_are_drawn_again(open_page, monkeypatch, end) -> None:
    from pages.components.lesson import component

    shown = []
    monkeypatch.setattr(component, "_mount", lambda **given: shown.append(given["data"]))
    points = [[0.5, -1, 0], [1, 1, 2], ["<b>", 0, 1], 7, [0, 0, 9]]
    run = samples.add_run("lesson", {"points": points}, end, "too few points" if end == "failed" else None)
    app = open_page("learn", chapter="own", drawn=run, problem="own")
    (data,) = shown
    assert data["lesson"]["train"] == {"x": [[0.5, -1], [1, 1]], "y": [0, 2]}
    assert data["lesson"]["drawn"]
    assert not app.dataframe  # no figures of another problem
    open_page("learn", chapter="average", drawn=run, problem="own")
    assert len(shown) == 1


def test_words_are_listed(open_page) -> None:
    app = open_page("learn", chapter="words")
    assert html(app).count("<dt>") >= len(glossary.terms())


def test_a_digit_waits_for_a_fusion_and_offers_it(open_page, submitted, filled) -> None:
    samples.add_fusion()  # of networks that read no digits
    app = open_page("learn", chapter="digit")
    app.button(key="digit-demo").click().run()
    assert submitted == [("import_parents", {"demo": "digits"})]


def test_digit_networks_are_told_from_others() -> None:
    from safetensors.numpy import load_file

    tensors = load_file(demo_files()[0])
    assert [layer["shape"] for layer in digit_view._layers(tensors)] == [[64, 64], [32, 64], [10, 32]]
    with pytest.raises(ValueError, match="do not read 64 pixels"):
        digit_view._layers({name: values for name, values in tensors.items() if not name.startswith("fc3")})


def test_only_networks_that_the_browser_computes_rightly_are_shown(filled, monkeypatch) -> None:
    from fusion_engine.architectures.mlp import MLPConfig

    monkeypatch.setattr(digit_view, "digit_networks", lambda run: {"content": run})
    run = samples.add_fusion()
    for activation in ("relu", "tanh", "leaky_relu", "gelu"):
        called = str(MLPConfig((64, 64, 32, 10), activation))
        monkeypatch.setattr(store, "read_parents_summary", lambda parents, called=called: {"architecture": called})
        assert digit_view._fits(run) == (activation == "relu"), called


def test_the_normalisation_of_drawn_digits_is_the_data_sets() -> None:
    from fusion_engine.data import load_data

    data = load_data("digits:train")
    assert (data.mean.item(), data.std.item()) == (digit_view.MEAN, digit_view.STD)


@pytest.mark.parametrize("number", range(1, len(STEPS) + 1))
def test_every_stop_of_the_tour_is_told_on_its_page_and_ends_anywhere(open_page, filled, number) -> None:
    step = STEPS[number - 1]
    app = open_page(step.page, tour=str(number))
    assert f"{number} of {len(STEPS)} · {step.title}" in html(app)
    assert ("There is no fusion yet" in html(app)) == step.fused
    app.button(key="tour-stop").click().run()
    assert "tour" not in app.query_params
    assert f"{number} of {len(STEPS)}" not in html(app)


def test_the_tour_leads_from_page_to_page_and_says_when_one_has_left_it(open_page, filled, monkeypatch) -> None:
    went = []
    monkeypatch.setattr(st, "switch_page", went.append)  # AppTest follows none
    app = open_page("start", tour="2")
    app.button(key="tour-Next").click().run()
    assert went == ["pages/parents.py"]
    assert samples.url(app, "tour") == "3"
    app = open_page("fuse", tour="3")
    assert "this stop is on the page Parents" in html(app)
    assert {"tour-Back", "tour-Go there", "tour-stop"} <= {button.key for button in app.button}
    assert "tour-Next" not in {button.key for button in app.button}


@pytest.mark.parametrize("page", list(ICONS))
def test_presentation_mode_is_on_every_page(open_page, filled, page) -> None:
    app = open_page(page, present="1", parents=samples.PARENTS, data=samples.DATA)
    assert 'class="presenting"' in html(app)
    assert app.toggle(key="present-toggle").value
    app.toggle(key="present-toggle").set_value(False).run()
    assert 'class="presenting"' not in html(app)
    assert "present" not in app.query_params


def test_presentation_mode_makes_the_writing_of_charts_larger() -> None:
    chart = theme.figure(300)
    larger = theme._enlarged(chart.to_plotly_json())["layout"]
    assert larger["font"]["size"] == round(14 * 4 / 3)
    assert larger["legend"]["font"]["size"] == round(13 * 4 / 3)
    assert larger["height"] == 300
