"""Levels: the partition as text, what folds, the picture, and merging on the Parents page."""

from __future__ import annotations

import random

import pytest
import samples
from test_parents import done_preflight

from fusion_engine.core.errors import RecipeError
from fusion_engine.core.level_plan import parse_plan
from pages.components.model.level_groups import join_groups, merged, parsed, split, written
from pages.components.model.level_rows import MOST_ROWS, Row, folded_rows
from pages.components.model.model_chart import model_picture
from pages.components.model.space_bars import LANES, space_bars


def test_a_partition_and_its_text() -> None:
    groups = ((0, 2), (3, 3), (4, 7))
    assert parsed("0-2,3,4-7", 8) == groups
    assert written(groups) == "0-2,3,4-7"
    assert parsed("", 3) == parsed("auto", 3) == ((0, 0), (1, 1), (2, 2))
    assert written(((0, 0), (1, 1))) == ""
    assert join_groups(groups) == "levels 0 to 2 and 4 to 7"


@pytest.mark.parametrize("spec", ["0-0000003", "0000-3", " 0 - 2 , 3 ", "0-3,4", "9" * 5000])
def test_the_page_reads_what_the_solver_reads(spec: str) -> None:
    try:
        plan = parse_plan(spec, 4)
    except RecipeError:
        plan = None
    assert parsed(spec, 4) == plan


@pytest.mark.parametrize("spec", ["0-2", "0-2,4-7", "1-7", "0-7,8", "0-3,2-7", "2-0,3-7", "0-2;3-7", "x", "0--7", ","])
def test_what_is_no_partition_is_refused(spec: str) -> None:
    assert parsed(spec, 8) is None


def test_merging_and_splitting_keep_every_level_once() -> None:
    chance = random.Random(0)
    for _ in range(50):
        groups = parsed("", 12) or []
        for _ in range(6):
            first = chance.randrange(len(groups))
            last = chance.randrange(first, len(groups))
            change = chance.choice(["merge", "split"])
            groups = merged(groups, first, last) if change == "merge" else split(groups, first)
            assert [i for a, b in groups for i in range(a, b + 1)] == list(range(12))
            assert parsed(written(groups), 12) == groups


def transformer(blocks: int) -> list[dict]:
    names = ["patch", *(f"blocks.{i}.{part}" for i in range(blocks) for part in ("attention", "mlp")), "head"]
    return [samples.level(i, name) for i, name in enumerate(names)]


def shown_levels(rows: list[Row]) -> list[int]:
    return [i for row in rows for i in row.levels]


def test_repeated_blocks_fold_and_the_first_stays_in_sight() -> None:
    levels = transformer(12)
    rows = folded_rows(levels, parsed("", 26) or [])
    assert [(row.levels[0], row.levels[-1], row.repeats) for row in rows] == [
        (0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 24, 11), (25, 25, 0)
    ]
    assert shown_levels(folded_rows(levels, parsed("", 26) or [], {3})) == list(range(26))
    assert len(folded_rows(levels, parsed("", 26) or [], None)) == 26


def test_small_models_and_merged_levels_do_not_fold() -> None:
    assert not any(row.repeats for row in folded_rows(transformer(6), parsed("", 14) or []))
    groups = parsed(",".join([*map(str, range(5)), "5-6", *map(str, range(7, 26))]), 26) or []
    rows = folded_rows(transformer(12), groups)
    assert [row.levels for row in rows if row.merged] == [(5, 6)]
    assert shown_levels(rows) == list(range(26))


def test_levels_with_nothing_in_common_are_packed() -> None:
    levels = [samples.level(i, f"layer{'abcdefghij'[i % 10]}{'klmno'[i // 10]}") for i in range(50)]
    rows = folded_rows(levels, parsed("", 50) or [])
    assert len(rows) <= MOST_ROWS
    assert shown_levels(rows) == list(range(50))


def model(levels: list[dict], spaces: list[dict]) -> dict:
    return {"levels": levels, "spaces": spaces, "layers": []}


def test_spaces_that_share_a_row_have_lanes_of_their_own() -> None:
    levels = transformer(3)
    stream = samples.space("patch", 12, list(range(8)))
    heads = samples.space("blocks.0.attention.qkv", 2, [1], block=True)
    inner = [samples.space(f"qkv#{i}", 6, [1], inside=heads["name"], freedom="gl") for i in range(4)]
    chain = [samples.space(f"s{i}", 6, [i, i + 1]) for i in range(7)]
    rows = folded_rows(levels, parsed("", 8) or [])
    found = space_bars(model(levels, [stream, heads, *inner, *chain]), rows)
    assert [s.name for s in found] == ["patch", heads["name"], *(f"s{i}" for i in range(7))]
    assert (found[1].inside, found[1].unit) == (4, "head")
    assert found[0].rows == list(range(8))
    taken = [(row, s.lane) for s in found for row in range(s.rows[0], s.rows[-1] + 1)]
    assert len(set(taken)) == len(taken)
    assert all(s.lane is not None and s.lane < LANES for s in found)


def test_spaces_inside_a_folded_box_share_one_bar() -> None:
    levels = transformer(12)
    spaces = [samples.space(f"hidden{i}", 24, [i]) for i in range(1, 25)]
    rows = folded_rows(levels, parsed("", 26) or [])
    assert [s.several for s in space_bars(model(levels, spaces), rows)] == [1, 1, 22]


def test_the_picture_has_a_box_a_row_and_escapes_names() -> None:
    levels = [samples.level(0, "<b>evil</b>"), samples.level(1, "fc")]
    rows = folded_rows(levels, parsed("", 2) or [])
    chart = model_picture(model(levels, [samples.space("<i>x", 6, [0, 1])]), rows, [0], [3, 8, 8])
    boxes = [trace for trace in chart.data if trace.type == "bar" and len(trace.y) == 2 and trace.orientation == "h"]
    assert len(boxes) == 1
    texts = " ".join(str(text) for trace in chart.data for text in trace.text or () if text)
    assert "&lt;b&gt;evil" in texts
    assert "<i>x" not in texts
    assert "input 3 × 8 × 8" in texts


def test_merging_undo_split_and_reset(open_page, filled, monkeypatch) -> None:
    done_preflight(monkeypatch, ok=True)
    app = open_page("parents", parents=samples.PARENTS)
    assert "levels" not in app.query_params
    app.selectbox(key="merge-first").select(1).run()
    assert app.selectbox(key="merge-last").value == 2
    app.button(key="merge").click().run()
    assert not app.exception
    assert samples.url(app, "levels") == "0,1-2"
    assert any("levels 1 to 2" in c.value for c in app.caption)
    app.selectbox(key="merge-first").select(0).run()
    app.button(key="merge").click().run()
    assert samples.url(app, "levels") == "0-2"
    app.button(key="merge-undo").click().run()
    assert samples.url(app, "levels") == "0,1-2"
    app.selectbox(key="merge-first").select(1).run()
    app.button(key="split").click().run()
    assert "levels" not in app.query_params
    app.button(key="merge-undo").click().run()
    app.button(key="merge-reset").click().run()
    assert "levels" not in app.query_params
    assert app.button(key="merge-reset").disabled


def test_a_partition_of_other_levels_is_dropped(open_page, filled, monkeypatch) -> None:
    done_preflight(monkeypatch, ok=True)
    app = open_page("parents", parents=samples.PARENTS, levels="0-9")
    assert "levels" not in app.query_params


def test_other_parents_forget_the_partition(open_page, filled, monkeypatch) -> None:
    done_preflight(monkeypatch, ok=True)
    other = samples.add_parents("b" * 32, "another")
    app = open_page("parents", parents=samples.PARENTS, levels="0-1,2", load="earlier")
    app.selectbox(key="pick-parents").select(other).run()
    assert samples.url(app, "parents") == other
    assert "levels" not in app.query_params
