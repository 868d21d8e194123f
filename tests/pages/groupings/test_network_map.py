"""Where the spaces of a network stand in its map, and what their colours say."""

from __future__ import annotations

import pytest

from pages.components.groupings import network_map


def space(index: int, level: int | None, **judged: float) -> dict:
    return {
        "index": index, "name": f"s{index}", "level": level, "sizes": [4, 4], "size": 4, "error": 0.25,
        "verdict": {"groups": 8, "empty": 3, "mixed": 2, "single": 5, "cost": 0.4} | judged,
    }


def test_levels_are_columns_and_full_ones_go_on_beside() -> None:
    levels = [None, 1, 0, 0, 0, 0, 0, 1]
    placed = network_map.cells([space(i, level) for i, level in enumerate(levels)])
    assert [(c.name, c.column, c.row) for c in placed] == [
        ("s2", 0, 0), ("s3", 0, 1), ("s4", 0, 2), ("s5", 0, 3), ("s6", 1, 0), ("s1", 2, 0), ("s7", 2, 1), ("s0", 3, 0),
    ]


def test_sixty_spaces_have_a_cell_each() -> None:
    spaces = {f"s{i}": space(i, i // 3) for i in range(60)}
    placed = network_map.cells(list(spaces.values()))
    assert len({(c.column, c.row) for c in placed}) == 60
    chart = network_map.picture(placed, [1.0] * 60, "s7", {i: f"l{i}" for i in range(20)}, spaces)
    bars = chart.data[0]
    assert [n for n, colour in enumerate(bars.marker.line.color) if colour == network_map.VERMILION] == [7]
    assert [data[0] for data in bars.customdata] == list(range(60))


@pytest.mark.parametrize(("measure", "share"), [("error", 0.25), ("cost", 0.4), ("mixed", 0.4), ("single", 1.0)])
def test_measures_are_shares_of_the_groups_in_use(measure: str, share: float) -> None:
    assert network_map.value(space(0, 0), measure) == pytest.approx(share)


def test_what_an_older_run_does_not_keep_is_not_offered() -> None:
    assert network_map.value({"error": 0.1}, "cost") is None
    assert network_map.value(space(0, 0), "concentration") is None


def test_text_on_the_map_is_escaped() -> None:
    named = space(0, 0) | {"name": "<b>"}
    chart = network_map.picture(network_map.cells([named]), [1.0], "", {0: "<i>"}, {"<b>": named})
    assert "<i>" not in chart.data[0].customdata[0][1]
    assert chart.data[0].text[0] == "&lt;b&gt; · 1 %"
