"""Analyse and Leaderboard in the browser, with the demo parents."""

from __future__ import annotations

import json
import re

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

from steps import fuse_the_demo, settled, use_the_demo  # noqa: E402

pytestmark = pytest.mark.browser


def test_a_fusion_is_analysed(page, served) -> None:
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="Analyse").click()
    page.get_by_role("button", name="Analyse", exact=True).click()
    page.wait_for_url("**analysis=**")
    page.get_by_role("heading", name="Where accuracy is lost").wait_for()
    page.get_by_role("heading", name="How alike their features are").wait_for()
    charts = page.get_by_role("figure")
    expect(charts).to_have_count(6)
    for number in range(6):
        charts.nth(number).locator(".main-svg").first.wait_for()
    levels = charts.first.locator(".scatterlayer .trace").last.locator(".points path")
    expect(levels).to_have_count(4)  # the input and three levels
    page.get_by_text("Loss", exact=True).click()
    page.get_by_text("Loss (cross entropy, nats)").wait_for()
    bookmark = page.url
    page.reload()
    page.get_by_role("heading", name="Where accuracy is lost").wait_for()
    assert page.url == bookmark
    assert page.get_by_text("The settings have changed").count() == 0


def test_a_leaderboard_grows_is_cancelled_and_goes_on(page, served) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    use_the_demo(page, served.address)
    page.get_by_role("link", name="Leaderboard").click()
    page.get_by_role("button", name="None", exact=True).click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    recipes = ["Plain average", "k-means fusion, least squares"]
    recipes += ["k-means fusion, gradient descent"]  # leaves time to cancel
    for name in recipes:
        settled(page)
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("button", name="Start", exact=True).click()  # at once: what was chosen last counts
    page.wait_for_url("**board=**")
    page.get_by_role("heading", name="Accuracy against time").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Nothing of it is lost").wait_for()
    page.get_by_role("button", name="Resume").click()
    done = page.get_by_text(re.compile(r"(\d+) of \1 rows, done in"))
    done.wait_for()
    assert "4 of 4 rows" in done.inner_text()
    run = page.url.split("board=")[1].split("&")[0]
    board = json.loads((served.home / "runs" / run / "leaderboard.json").read_text())
    assert {entry["state"] for entry in board["entries"]} == {"done"}
    picture = page.get_by_role("figure").first
    names = [entry["preset"] for entry in board["entries"] if entry["pareto"]]
    for name in names:
        picture.get_by_text(re.compile(rf"^\d+ {name}$")).wait_for()
    expect(picture.locator(".scatterlayer .points path")).to_have_count(3)
    best = page.get_by_role("combobox", name="Look closer at")  # the button takes what is shown there
    expect(best).to_have_value(board["entries"][0]["label"], timeout=30_000)
    settled(page)
    page.get_by_role("button", name="Open in Fuse").click()
    page.get_by_role("heading", name="Fuse", exact=True).wait_for()
    page.get_by_text(f"--recipe {board['entries'][0]['preset']}").wait_for()
