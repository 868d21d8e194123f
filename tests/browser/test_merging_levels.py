"""Levels in the browser: merged on the picture of the Parents page, and followed on the Fuse page while they train."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_engine import store

expect = pytest.importorskip("playwright.sync_api").expect

from steps import choose, use_the_demo  # noqa: E402

pytestmark = pytest.mark.browser


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


@pytest.fixture
def run(page, served, monkeypatch) -> Iterator[str]:
    """A fusion of the demo parents at work, as far as the store knows; the Fuse page shows it."""
    use_the_demo(page, served.address)
    monkeypatch.setenv("FUSION_HOME", str(served.home))
    run = store.create_run("fuse", {"parents": page.url.split("parents=")[1].split("&")[0], "recipe": "kf_linear"})
    store.write_status(run, "running")
    page.goto(re.sub(r"/parents\?", "/fuse?", page.url) + f"&job={run}")
    yield run
    store.write_status(run, "failed", "stopped by the test")
    page.get_by_text("stopped by the test").wait_for()


def test_the_losses_of_a_level_are_drawn_while_it_trains(page, served, run) -> None:
    folder = served.home / "runs" / run
    append(folder, 0, epoch=1, epochs=9, loss=0.5, held_out=0.6)
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


HIDDEN_LABELS = """() => {
  window.hiddenLabels = [];
  const hidden = ({target: label}) => label.matches('.xtick text, .ytick text') && label.style.display === 'none';
  new MutationObserver(changes => hiddenLabels.push(...changes.filter(hidden).map(({target}) => target.textContent)))
    .observe(document.body, {subtree: true, attributes: true, attributeFilter: ['style']});
}"""


def test_narrow_losses_have_labels_and_keep_them_in_any_size(page, served, run) -> None:
    """Plotly can hide labels beyond the edge of a chart that becomes smaller. Where that is all of them, the axis's
    title goes to infinity, which is an error on the console."""
    folder = served.home / "runs" / run
    for epoch in (1, 2, 3):
        append(folder, 0, epoch=epoch, epochs=3, loss=0.00099 * (1 + 0.01 * epoch), held_out=0.00099)
    append(folder, 0, done=True, kept="trained", reason="")
    append(folder, 1, epoch=1, epochs=3, loss=0.5, held_out=0.6)
    page.get_by_text("▸ 1 · fc1 1/3").wait_for()
    choose(page, "Level", "Level 0 · fc0")
    chart = page.locator(".js-plotly-plot").first
    chart.get_by_text("Epoch of level 0 · fc0").wait_for()
    expect(chart.locator(".yaxislayer-above .ytick").nth(1)).to_be_visible()
    drawing = chart.locator(".main-svg").first
    page.evaluate(HIDDEN_LABELS)
    chart.hover()
    page.locator("[data-title=Fullscreen]").first.click()
    expect(drawing).not_to_have_attribute("height", "270")
    page.set_viewport_size({"width": 800, "height": 200})
    expect(drawing).to_have_attribute("height", re.compile(r"^1\d\d$"))
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(drawing).to_have_attribute("height", re.compile(r"^[5-9]\d\d$"))
    page.keyboard.press("Escape")
    expect(drawing).to_have_attribute("height", "270")
    assert page.evaluate("hiddenLabels") == []
