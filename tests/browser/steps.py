"""Steps that several tests take."""

from __future__ import annotations

import pytest
from playwright.sync_api import TimeoutError as Expired


def settled(page) -> None:
    """Wait until the page's script has run to its end."""
    page.locator("[data-test-script-state=notRunning]").wait_for()


def choose(page, label: str, option: str) -> None:
    """Pick one of a list's options. An open list closes when the page moves under it: then it is opened again."""
    found = page.get_by_role("option", name=option)
    for _ in range(10):
        page.get_by_label(label).or_(page.get_by_placeholder(label)).first.click()
        try:
            found.click(timeout=3000)
            return
        except Expired:
            page.keyboard.press("Escape")
    pytest.fail(f"{option} could not be chosen")


def fuse_the_demo(page, address: str) -> None:
    """Start's one button: the demo parents fused and explained."""
    page.goto(address)
    page.get_by_role("button", name="Fuse the demo").click()
    page.get_by_text("What happened").wait_for()


def use_the_demo(page, address: str) -> None:
    """The demo parents on the Parents page, with their data."""
    page.goto(f"{address}/parents")
    page.get_by_role("button", name="Use the demo parents").click()
    page.get_by_role("heading", name="What they are made of").wait_for()
