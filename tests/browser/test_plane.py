"""The plane of neurons: what only a browser shows of it."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api").expect

from steps import choose, fuse_the_demo, settled  # noqa: E402

pytestmark = pytest.mark.browser

WAIT = 30_000
VIEW = "[...document.querySelectorAll('.plane-chart')].map(c => c._fullLayout.xaxis.range.join())[0]"
# Of links, the parents' marks, their selected marks and the ring, in this order: how many selected marks there are.
ON_TOP = "[...document.querySelectorAll('.plane-chart')][0].data.slice(5, 9).reduce((n, t) => n + t.x.length, 0)"
SHOWN = ON_TOP.replace("5, 9", "1, 5")


def marked(page, number: str) -> None:
    expect(page.locator(".plane")).to_have_attribute("data-selected", number, timeout=WAIT)


def drag(page, *places: tuple[float, float]) -> None:
    """Press at the first of some places, given as shares of the chart, and draw through the others."""
    box = page.locator(".plane-chart").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_neurons_are_selected_looked_at_and_recoloured_without_losing_the_view(page, served) -> None:
    page.set_viewport_size({"width": 1280, "height": 1400})
    fuse_the_demo(page, served.address)
    page.get_by_role("link", name="See the neurons").click()
    page.get_by_text("UMAP 1").wait_for()
    plane = page.locator(".plane")

    # A lasso around everything, and one that is smaller.
    drag(page, (0.05, 0.05), (0.97, 0.05), (0.97, 0.9), (0.05, 0.9), (0.05, 0.05))
    marked(page, "256")
    page.wait_for_url("**neurons=0%3A0-63%2C1%3A0-63%2C2%3A0-63%2C3%3A0-63**")
    drag(page, (0.05, 0.05), (0.6, 0.05), (0.6, 0.9), (0.05, 0.9), (0.05, 0.05))
    expect(plane).not_to_have_attribute("data-selected", "256", timeout=WAIT)
    chosen = plane.get_attribute("data-selected")
    page.get_by_text(f"{chosen} neurons selected.").wait_for()
    assert page.evaluate(ON_TOP) == int(chosen)

    # Looking closer survives another colouring, which comes with a scale.
    page.get_by_role("button", name="Zoom", exact=True).click()
    drag(page, (0.3, 0.3), (0.7, 0.7))
    settled(page)
    view = page.evaluate(VIEW)
    choose(page, "Colour by", "Colour: importance")
    page.locator(".plane-bar").wait_for()
    settled(page)
    assert page.evaluate(VIEW) == view
    marked(page, chosen)
    page.get_by_role("button", name="Whole", exact=True).click()

    # A click shows the passport, and a parent can be left out.
    page.locator(".plane .scatterlayer .trace .points path").nth(5).click(force=True)
    page.get_by_text("Most similar neurons").wait_for()
    page.wait_for_url(re.compile(r"[&?]neuron="))
    settled(page)
    shown = page.evaluate(SHOWN)
    page.get_by_role("button", name="parent_1", exact=True).click()
    page.wait_for_url("**hidden=1**")
    page.wait_for_function(f"{SHOWN} === {shown - 64}")

    # The address restores all of it, also after another page.
    page.reload()
    marked(page, chosen)
    hidden = page.get_by_role("button", name="parent_1", exact=True)
    expect(hidden).to_have_attribute("aria-pressed", "false", timeout=WAIT)
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_role("heading", name="Compare").first.wait_for()
    page.get_by_role("link", name="Explore", exact=True).click()
    marked(page, chosen)
    page.get_by_text("Most similar neurons").wait_for()

    box = page.locator(".plane-chart").bounding_box()
    page.mouse.dblclick(box["x"] + 0.08 * box["width"], box["y"] + 0.08 * box["height"])
    marked(page, "0")
    page.wait_for_function("!location.search.includes('neurons=')")
