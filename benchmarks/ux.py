"""How the app feels: what people wait for, measured in Chromium, beside its target.

    python benchmarks/ux.py [--runs 20]

Starts the app on a free port with a store of its own, fuses the demo, and takes every measure --runs times: medians and
95th percentiles are shown. The machine should be idle. Prints a table and writes benchmarks/results/ux.json.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _running import ROOT, print_table, write_results

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
PAGES = ("Parents", "Explore", "Fuse", "Leaderboard", "Compare", "Analyse")
TARGETS = {
    "start to interactive, s": 2.5, "warm load, s": 1.2, "page switch, s": 0.3, "history entries a page switch": 1,
    "demo fusion, s": 5, "fuse click to progress, s": 0.5, "cancel, s": 1, "reload in mid-job to progress, s": 1,
    "layout shift": 0.1, "app process with ten sessions, MB": 250, "console errors": 0, "requests off the machine": 0,
}
SHIFT = """window.shift = 0;
const add = entry => { if (!entry.hadRecentInput) window.shift += entry.value; };
new PerformanceObserver(list => list.getEntries().forEach(add)).observe({type: 'layout-shift', buffered: true});"""


class App:
    """The app on a port of its own, from the command on."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        environment = {k: v for k, v in os.environ.items() if k != "FUSION_SCHEDULER"} | {"FUSION_HOME": str(home)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1)
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("the app did not start")

    def megabytes(self) -> float:
        """Resident memory of the app's process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)


@contextmanager
def running(home: Path) -> Iterator[App]:
    app = App(home)
    try:
        yield app
    finally:
        app.stop()


class Bench:
    """Measures by name, and what the browser saw meanwhile."""

    def __init__(self, browser: Any, runs: int) -> None:
        self.browser, self.runs = browser, runs
        self.found: dict[str, list[float]] = {name: [] for name in TARGETS}
        self.outside: list[str] = []
        self.errors: list[str] = []

    def page(self) -> Any:
        """A page in a fresh profile."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 1400})
        context.add_init_script(SHIFT)
        page = context.new_page()
        page.set_default_timeout(180_000)  # a busy machine takes its time to start the service
        page.on("request", lambda request: self.outside.append(request.url) if _leaves(request.url) else None)
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def timed(self, name: str, act: Callable[[], Any]) -> None:
        start = time.perf_counter()
        act()
        self.found[name].append(time.perf_counter() - start)


def _leaves(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname not in ("127.0.0.1", "localhost", "::1")


def settled(page: Any) -> None:
    page.locator("[data-test-script-state=notRunning]").wait_for()


def starts(bench: Bench, runs: int) -> None:
    """From the command to the first button, with a store that is new."""
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            page, start = bench.page(), time.perf_counter()
            with running(Path(home)) as app:
                app.wait()
                page.goto(app.address)
                page.get_by_role("button", name="Fuse the demo").wait_for()
                bench.found["start to interactive, s"].append(time.perf_counter() - start)
                page.context.close()


def newcomer(bench: Bench, app: App) -> str:
    """Fuses the demo from Start; the address afterwards."""
    page = bench.page()
    page.goto(app.address)
    page.get_by_role("button", name="Fuse the demo").click()
    page.get_by_text("What happened").wait_for()  # the first one waits for the service to start
    for _ in range(bench.runs):
        settled(page)
        page.get_by_role("button", name="Fuse the demo").click()
        start = time.perf_counter()
        page.get_by_text("What happened").wait_for(state="detached")
        page.get_by_text("What happened").wait_for()
        bench.found["demo fusion, s"].append(time.perf_counter() - start)
    address = str(page.url)
    page.context.close()
    return address


def visits(bench: Bench, address: str) -> None:
    """Loads of every page, and switches from one to the next."""
    for _ in range(bench.runs):
        for name in PAGES:
            page = bench.page()
            bench.timed("warm load, s", lambda page=page, name=name: _open(page, address, name))
            settled(page)
            page.wait_for_timeout(1000)
            bench.found["layout shift"].append(page.evaluate("window.shift"))
            page.context.close()
        page = bench.page()
        _open(page, address, PAGES[-1])
        settled(page)
        for name in PAGES:
            page.wait_for_timeout(500)
            before = page.evaluate("history.length")
            link = page.get_by_role("link", name=name, exact=True).first
            bench.timed("page switch, s", lambda link=link, page=page, name=name: (link.click(), _titled(page, name)))
            settled(page)
            page.wait_for_timeout(500)
            bench.found["history entries a page switch"].append(page.evaluate("history.length") - before)
        page.context.close()


def _open(page: Any, address: str, name: str) -> None:
    page.goto(address.replace("/?", f"/{name.lower()}?"))
    _titled(page, name)


def _titled(page: Any, name: str) -> None:
    page.get_by_role("heading", name=name, exact=True).wait_for()


def jobs(bench: Bench, address: str) -> None:
    """A long fusion: from the click to its progress, after a reload, and its end by Cancel."""
    page = bench.page()
    page.goto(address.replace("/?", "/fuse?") + "&recipe=kf_gradient&samples=all")
    for _ in range(bench.runs):
        button = page.get_by_role("button", name="Fuse 4 parents")
        button.wait_for()
        settled(page)
        button.click()
        bench.timed("fuse click to progress, s", page.get_by_text("Fusing").wait_for)
        page.wait_for_url("**job=**")
        bench.timed("reload in mid-job to progress, s", lambda: (page.reload(wait_until="commit"),
                                                                 page.get_by_text("Fusing").wait_for()))
        settled(page)
        page.get_by_role("button", name="Cancel").click()
        bench.timed("cancel, s", page.get_by_text("Nothing was kept of it").wait_for)
    page.context.close()


def sessions(bench: Bench, app: App, address: str) -> None:
    """The app's memory with ten sessions open, each on a page."""
    opened = [bench.page() for _ in range(10)]
    for number, page in enumerate(opened):
        _open(page, address, PAGES[number % len(PAGES)])
        settled(page)
    bench.found["app process with ten sessions, MB"].append(app.megabytes())
    for page in opened:
        page.context.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=20)
    runs = options.parse_args().runs
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        bench = Bench(browser, runs)
        starts(bench, runs)
        with running(Path(home)) as app:
            app.wait()
            address = newcomer(bench, app)
            visits(bench, address)
            jobs(bench, address)
            sessions(bench, app, address)
        browser.close()
    bench.found["console errors"].append(len(bench.errors))
    bench.found["requests off the machine"].append(len(bench.outside))
    report(bench)


def report(bench: Bench) -> None:
    results: dict[str, Any] = {
        name: {"target": TARGETS[name], "median": statistics.median(values), "p95": _percentile(values),
               "worst": max(values), "measured": len(values)} for name, values in bench.found.items() if values
    }
    rows = [
        [name, f"{r['target']:g}", f"{r['median']:.3g}", f"{r['p95']:.3g}",
         "" if r["median"] <= r["target"] else "missed"] for name, r in results.items()
    ]
    print_table(["what", "target", "median", "p95", ""], rows)
    seen = {"errors": sorted(set(bench.errors)), "outside": sorted(set(bench.outside))}
    write_results("ux", {"runs": bench.runs, "measures": results, **seen})


def _percentile(values: list[float]) -> float:
    """The smallest value that 95 % of all do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


if __name__ == "__main__":
    main()
