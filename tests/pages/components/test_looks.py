"""What is written can be read, on a light and on a dark page: contrasts by WCAG 2.1, and room for legends."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import streamlit as st

from pages.components.analysis.analysis_charts import SEQUENTIAL
from pages.components.run import charts
from pages.components.shared import theme

ROOT = Path(__file__).resolve().parents[3]
LOOKS = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())["theme"]
PAGES = [LOOKS["light"]["backgroundColor"], LOOKS["dark"]["backgroundColor"]]
TEXT, SHAPE = 4.5, 3.0


def test_contrast_is_that_of_the_standard() -> None:
    assert theme.contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert theme.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


def test_text_of_the_style_sheet_has_contrast_on_both_pages() -> None:
    sheet = (ROOT / "pages/components/shared/style.css").read_text()
    rules = re.findall(r"([^{}]+)\{[^{}]*?\bcolor: light-dark\((#\w{6}), (#\w{6})\)", sheet)
    assert len(rules) >= 6
    for selector, *colours in rules:
        on_primary = "primary" in selector or "data-tag-index" in selector
        grounds = [LOOKS[kind]["primaryColor" if on_primary else "backgroundColor"] for kind in ("light", "dark")]
        for colour, ground in zip(colours, grounds, strict=True):
            assert theme.contrast(colour, ground) >= TEXT, (selector.strip(), colour, ground)


def test_text_of_charts_has_contrast_on_both_pages() -> None:
    for colour in (theme.INK, theme.MUTED):
        assert theme.contrast(colour, PAGES[0]) >= TEXT
        assert theme.contrast(theme._darkened(colour), PAGES[1]) >= TEXT


@pytest.mark.parametrize("scale", [charts.ACCURACIES, SEQUENTIAL])
def test_numbers_have_contrast_on_every_colour_of_a_heat_map(scale) -> None:
    grounds = [theme.between(scale, share / 200) for share in range(201)]
    assert (grounds[0], grounds[-1]) == (scale[0][1], scale[-1][1])
    assert min(theme.contrast(theme.writing_on(ground), ground) for ground in grounds) >= TEXT


def test_numbers_are_written_in_the_cells_they_belong_to() -> None:
    chart = theme.figure(200, legend=False)
    theme.add_cells(chart, [[0.0, None], [100.0, 51.0]], ["a", "b"], ["first", "second"], charts.ACCURACIES, 100, 0)
    written = chart.data[1]
    assert list(zip(written.x, written.y, written.text, strict=True)) == [
        ("a", "first", "0"), ("a", "second", "100"), ("b", "second", "51"),
    ]
    assert list(written.textfont.color) == [theme.ON_LIGHT, theme.ON_DARK, theme.ON_LIGHT]


def test_stages_are_told_apart_from_the_page_and_from_their_neighbours() -> None:
    light = list(charts._STAGE_COLOURS.values())
    for page, colours in zip(PAGES, (light, theme._darkened(light)), strict=True):
        assert all(theme.contrast(colour, page) >= SHAPE for colour in colours[:3])
        assert all(theme.contrast(a, b) > 1.5 for a, b in pairwise(colours[:3]))  # greys; the others differ in hue


def test_colours_within_a_text_are_those_of_a_dark_page_too() -> None:
    text = f"fc1 <span style='color:{theme.MUTED}'>· 64</span>"
    assert theme._darkened(text) == text.replace(theme.MUTED, theme._DARK[theme.MUTED])


def test_a_legend_of_many_long_names_makes_its_chart_higher(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(st, "plotly_chart", lambda chart, **_: shown.append(chart))
    for names in (["parent_0", "parent_1"], ["resnet20_ci…final_v2(1)"] * 8):
        theme.show(charts.class_counts(names, [[1, 2]] * len(names)), "alt", "key")
    assert shown[0].layout.height == 300
    assert shown[1].layout.height > 300 + 5 * 19
    assert shown[1].layout.legend.maxheight >= 8 * 19


def test_parents_keep_the_ends_of_names_with_dots() -> None:
    from pages.components.run.reports import models

    names = ["net_lr0.1_last(1)", "net_lr0.1_last(2)"]
    report = {"parents": [{"file": name, "accuracy": 0.5} for name in names], "fused": {"accuracy": 0.5}}
    assert [m.label for m in models(report)][:2] == names
