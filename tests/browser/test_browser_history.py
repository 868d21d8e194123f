"""The browser's history: one entry a page, whatever a page writes into its address."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api")

from steps import settled, use_the_demo

pytestmark = pytest.mark.browser

PAGES = ("Fuse", "Leaderboard", "Compare")


def test_a_page_is_one_press_of_back(page, served) -> None:
    use_the_demo(page, served.address)
    entries = page.evaluate("history.length")
    assert entries == 2  # the blank page and this one: choosing parents and data added none
    for number, name in enumerate(PAGES, 1):
        page.get_by_role("link", name=name, exact=True).first.click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        settled(page)
        page.wait_for_url("**parents=**")
        assert page.evaluate("history.length") == entries + number, name
    for name in ("Leaderboard", "Fuse", "Parents"):
        page.go_back()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        assert "parents=" in page.url
    page.go_forward()
    page.get_by_role("heading", name="Fuse", exact=True).wait_for()


def test_a_link_from_elsewhere_is_one_entry(page, served) -> None:
    use_the_demo(page, served.address)
    page.goto(page.url.replace("/parents", "/fuse"))
    page.get_by_text("--calibration").wait_for()
    settled(page)
    assert page.evaluate("history.length") == 3
