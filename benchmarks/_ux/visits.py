"""What a visitor waits for: the start, a page, the next page, a job."""

import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from .app import App, running
from .bench import Bench, titled, told

PAGES = ("Parents", "Explore", "Fuse", "Leaderboard", "Compare", "Analyse")


def settled(page: Any) -> None:
    page.locator("[data-test-script-state=notRunning]").wait_for()


def address_of(app: App, page: str, chosen: dict[str, str]) -> str:
    return f"{app.address}/{page}?{urlencode(chosen)}"


def starts(bench: Bench) -> None:
    """From the command to the first button, with a store that is new."""
    for _ in range(bench.runs):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            page, start = bench.page(), time.perf_counter()
            with running(Path(home)) as app:
                app.wait()
                page.goto(app.address)
                page.wait_for_function(told("Fuse the demo"))
                bench.found["start to interactive, s"].append(time.perf_counter() - start)
                page.context.close()


def newcomer(bench: Bench, app: App) -> dict[str, str]:
    """Fuses the demo from Start; the parameters of its address."""
    for run in range(bench.runs + 1):
        page = bench.page()
        page.goto(app.address)
        button = page.get_by_role("button", name="Fuse the demo")
        button.wait_for()
        settled(page)
        if run:
            bench.answered("demo fusion, s", page, button.click, told("What happened"))
        else:  # this one waits for the service to start
            button.click()
            page.get_by_text("What happened").wait_for()
        chosen = dict(parse_qsl(urlsplit(page.url).query))
        page.context.close()
    return chosen


def visits(bench: Bench, app: App, chosen: dict[str, str]) -> None:
    """Loads of every page, and switches from one to the next."""
    for name in PAGES:  # what a page shows is computed at its first visit
        page = bench.page()
        _open(page, app, name, chosen)
        settled(page)
        _finished(page)
        bench.check_access(page, name)
        page.context.close()
    for _ in range(bench.runs):
        for name in PAGES:
            page = bench.page()
            bench.timed("warm load, s", lambda page=page, name=name: _open(page, app, name, chosen))
            settled(page)
            page.wait_for_timeout(1000)
            bench.note_shift(page)
            page.context.close()
        page = bench.page()
        _open(page, app, PAGES[-1], chosen)
        settled(page)
        for name in PAGES:
            page.wait_for_timeout(500)
            before = page.evaluate("history.length")
            link = page.get_by_role("link", name=name, exact=True).first
            bench.answered("page switch, s", page, link.click, titled(name))
            settled(page)
            page.wait_for_timeout(500)
            bench.found["history entries a page switch"].append(page.evaluate("history.length") - before)
        page.context.close()


def _open(page: Any, app: App, name: str, chosen: dict[str, str]) -> None:
    page.goto(address_of(app, name.lower(), chosen), wait_until="commit")
    page.wait_for_function(titled(name))


def _finished(page: Any) -> None:
    """Wait until no job is at work."""
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="running").wait_for(state="detached")


def jobs(bench: Bench, app: App, chosen: dict[str, str]) -> None:
    """A long fusion: from the click to its progress, after a reload, and its end by Cancel."""
    page = bench.page()
    page.goto(address_of(app, "fuse", {**chosen, "recipe": "kf_gradient", "samples": "all"}))
    for _ in range(bench.runs):
        button = page.get_by_role("button", name="Fuse ").and_(page.locator("[data-testid=stBaseButton-primary]"))
        button.wait_for()
        settled(page)
        bench.answered("fuse click to progress, s", page, button.click, told("Fusing"))
        page.wait_for_url("**job=**")
        bench.timed("reload in mid-job to progress, s", lambda: (page.reload(wait_until="commit"),
                                                                 page.wait_for_function(told("Fusing"))))
        settled(page)
        cancel = page.get_by_role("button", name="Cancel")
        bench.answered("cancel, s", page, cancel.click, told("Nothing was kept of it"))
    page.context.close()


def sessions(bench: Bench, app: App, chosen: dict[str, str]) -> None:
    """The app's memory with ten sessions open, each on a page."""
    opened = [bench.page() for _ in range(10)]
    for number, page in enumerate(opened):
        _open(page, app, PAGES[number % len(PAGES)], chosen)
        settled(page)
    bench.found["app process with ten sessions, MB"].append(app.megabytes())
    for page in opened:
        page.context.close()
