"""Levels in the browser: merged on the picture of the Parents page, and followed on the Fuse page while they train."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.browser


def use_the_demo(page, address: str) -> None:
    page.goto(f"{address}/parents")
    page.get_by_role("button", name="Use the demo parents").click()
    page.get_by_role("heading", name="What they are made of").wait_for()


def boxes(page):
    """The levels' boxes: the picture's first bars where nothing is folded."""
    return page.locator(".js-plotly-plot").first.locator(".barlayer .trace.bars").first.locator(".point path")


def test_levels_are_merged_on_the_picture_and_used_by_the_fusion(page, served) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    use_the_demo(page, served.address)
    boxes(page).nth(2).wait_for()
    assert boxes(page).count() == 3
    boxes(page).nth(1).click(force=True)
    expect(page.get_by_role("combobox", name="Merge from")).to_have_value(re.compile("^1 ·"), timeout=10_000)
    page.get_by_role("button", name="Merge 2 levels").click()
    page.wait_for_url("**levels=0%2C1-2**")
    page.get_by_text("Merged: levels 1 to 2").wait_for()
    expect(boxes(page)).to_have_count(2)
    page.reload()
    page.get_by_text("Merged: levels 1 to 2").wait_for()
    page.get_by_role("link", name="Fuse them").click()
    page.get_by_text("Merged levels 0,1-2").wait_for()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("0,1-2").wait_for(state="detached")
    assert "levels=" not in page.url


def append(run: Path, level: int, **detail) -> None:
    told = {"level": f"fc{level}", "index": level, "levels": 3, **detail}
    event = {"t": time.time(), "stage": "solve", "fraction": 0.3, "message": "training", "detail": told}
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")


def test_the_losses_of_a_level_are_drawn_while_it_trains(page, served, monkeypatch) -> None:
    from fusion_engine import store

    use_the_demo(page, served.address)
    monkeypatch.setenv("FUSION_HOME", str(served.home))
    run = store.create_run("fuse", {"parents": page.url.split("parents=")[1].split("&")[0], "recipe": "kf_linear"})
    store.write_status(run, "running")
    folder = served.home / "runs" / run
    append(folder, 0, epoch=1, epochs=9, loss=0.5, held_out=0.6)
    page.goto(re.sub(r"/parents\?", "/fuse?", page.url) + f"&job={run}")
    page.get_by_text("▸ 0 · fc0 1/9").wait_for()
    points = page.locator(".scatterlayer .trace").first.locator(".points path")
    points.first.wait_for()
    for epoch in range(2, 6):
        append(folder, 0, epoch=epoch, epochs=9, loss=0.5 / epoch, held_out=0.6 / epoch)
    page.get_by_text("▸ 0 · fc0 5/9").wait_for()
    points.nth(4).wait_for()
    append(folder, 0, done=True, kept="least_squares", reason="it diverged")
    append(folder, 1, epoch=1, epochs=9, loss=0.5, held_out=0.6)
    page.get_by_text("◇ 0 · fc0").wait_for()
    page.get_by_text("▸ 1 · fc1 1/9").wait_for()
    page.get_by_text("Epoch of level 1 · fc1").wait_for()
    store.write_status(run, "failed", "stopped by the test")
    page.get_by_text("stopped by the test").wait_for()
