"""A leaderboard's rows open where their networks are, and its form is in the address."""

from __future__ import annotations

import samples
from test_leaderboard_page import READY, add_board

from fusion_engine import store
from pages.components.leaderboard.opening import fusion_arguments, same_fusion

RECIPE = {
    "name": "kf_linear", "importance": {"method": "activation"}, "grouping": {"method": "kmeans", "tries": 7},
    "solver": {"method": "least_squares"},
}


def test_a_row_is_fused_once_and_then_opened(open_page, filled, submitted) -> None:
    run = add_board()
    app = open_page("leaderboard", **READY)
    app.button(key=f"open-row-{run}").click().run()
    assert not app.exception
    kind, arguments = submitted[-1]
    assert (kind, arguments["samples"], arguments["seed"]) == ("fuse", 300, 0)
    assert arguments["recipe"]["grouping"]["tries"] == 7
    assert same_fusion(arguments) is None
    made = samples.add_fusion(**arguments)
    assert same_fusion(arguments) == made
    app = open_page("leaderboard", **READY)
    assert not any(button.key == f"open-row-{run}" for button in app.button)


def test_only_the_same_fusion_is_opened(filled) -> None:
    board = add_board()
    entry = store.read_leaderboard(board)["entries"][0]
    wanted = fusion_arguments(board, entry)
    same = {**READY, "samples": 300, "recipe": RECIPE}
    for change in ({"seed": 1}, {"samples": 200}, {"recipe": "kf_linear"}, {"test": samples.DATA}):
        samples.add_fusion(**{**same, **change})
        assert same_fusion(wanted) is None, change
    made = samples.add_fusion(**same)
    assert same_fusion(wanted) == made


def test_the_form_is_in_the_address(open_page, filled, submitted) -> None:
    app = open_page("leaderboard", **READY, presets="average", importances="own,conductance")
    app.button(key="start-board").click().run()
    assert submitted[-1][1]["presets"] == ["average"]
    assert submitted[-1][1]["importances"] == ["own", "conductance"]
    app.button_group(key="board-presets").set_value(["average", "kf_linear"]).run()
    assert set(samples.url(app, "presets").split(",")) == {"average", "kf_linear"}
    app.button(key="board-all").click().run()
    assert samples.url(app, "presets") is None
