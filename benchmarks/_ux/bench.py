"""What is measured, beside its target, and what the browser saw meanwhile."""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _running import print_table

TARGETS = {
    "start to interactive, s": 2.5, "warm load, s": 1.2, "page switch, s": 0.3, "space switch, s": 0.35,
    "click to passport, s": 0.25, "lasso to panels, s": 0.3, "fuse click to progress, s": 0.5, "cancel, s": 1,
    "reload in mid-job to progress, s": 1, "edit to preview, s": 0.3, "learn drag to picture, s": 0.15,
    "demo fusion, s": 5, "layout shift": 0.1,
    "app process with ten sessions, MB": 250, "history entries a page switch": 1, "console errors": 0,
    "requests off the machine": 0, "axe, serious or critical": 0,
}
_SHIFT = """window.shift = 0; window.shifts = [];
const name = node => { const e = node?.nodeType === 1 ? node : node?.parentElement;
  return e ? e.closest('[data-testid]')?.dataset.testid + ' ' + (e.closest('[class*=st-key]')?.className ?? '') : ''; };
const add = entry => { if (!entry.hadRecentInput) { window.shift += entry.value;
  window.shifts.push([entry.value, ...entry.sources.map(source => name(source.node))]); } };
new PerformanceObserver(list => list.getEntries().forEach(add)).observe({type: 'layout-shift', buffered: true});"""

_ANSWER = """() => { window.answered = 0;
  const shown = () => (%s);
  addEventListener('pointerup', () => { const start = performance.now();
    const look = () => { if (shown()) window.answered = performance.now() - start; else requestAnimationFrame(look); };
    requestAnimationFrame(look); }, {capture: true, once: true}); }"""


def titled(name: str) -> str:
    """The page's heading is there; JavaScript, as `Bench.answered` takes it."""
    return f"[...document.querySelectorAll('h1')].some(e => e.textContent.trim() === {name!r})"


def told(text: str) -> str:
    """The text is there, of a page that is drawn."""
    return f"document.querySelector('[data-testid=stMain]')?.textContent.includes({text!r})"


class Bench:
    """Measures by name. axe: axe-core's axe.min.js, where there is one."""

    def __init__(self, browser: Any, runs: int, axe: Path | None = None) -> None:
        self.browser, self.runs, self.axe = browser, runs, axe
        self.found: dict[str, list[float]] = {name: [] for name in TARGETS}
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.shifts: list[Any] = []
        self.findings: dict[str, list[str]] = {}

    def page(self) -> Any:
        """A page in a fresh profile."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 1400})
        context.add_init_script(_SHIFT)
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

    def answered(self, name: str, page: Any, act: Callable[[], Any], shown: str) -> None:
        """From the end of a click to the frame in which what it asked for is there, by the browser's own clock.

        shown: a JavaScript expression. Waiting for a locator would look at 20, 70, 170, 270 and 770 ms only.
        """
        page.evaluate(_ANSWER % shown)
        act()
        page.wait_for_function("window.answered")
        self.found[name].append(page.evaluate("window.answered") / 1000)

    def note_shift(self, page: Any) -> None:
        """How far the page has moved since it was loaded, and the elements that moved most."""
        self.found["layout shift"].append(page.evaluate("window.shift"))
        self.shifts += [[page.url.split("?")[0], *entry] for entry in page.evaluate("window.shifts") if entry[0] > 0.02]

    def check_access(self, page: Any, name: str) -> None:
        """Serious and critical findings of axe on the page as it is."""
        if self.axe is None:
            return
        page.add_script_tag(path=str(self.axe))
        found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => r.violations.map("
                              "v => [v.impact, v.id, v.nodes[0].html.slice(0, 160)]))")
        serious = [": ".join(entry[1:]) for entry in found if entry[0] in ("serious", "critical")]
        self.found["axe, serious or critical"].append(len(serious))
        if serious:
            self.findings[name] = serious

    def results(self) -> dict[str, Any]:
        self.found["console errors"] = [len(self.errors)]
        self.found["requests off the machine"] = [len(self.outside)]
        return {name: _summary(TARGETS[name], values) for name, values in self.found.items()}

    def seen(self) -> dict[str, Any]:
        """What stands behind the counts."""
        return {"errors": sorted(set(self.errors)), "outside": sorted(set(self.outside)), "axe": self.findings,
                "shifts": self.shifts}


def _leaves(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname not in ("127.0.0.1", "localhost", "::1")


def _summary(target: float, values: list[float]) -> dict[str, float]:
    if not values:
        return {"target": target, "measured": 0}
    return {
        "target": target, "median": statistics.median(values), "p95": _percentile(values), "worst": max(values),
        "measured": len(values),
    }


def _percentile(values: list[float]) -> float:
    """The smallest value that 95 % of all do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def show(results: dict[str, Any]) -> None:
    rows = [
        [name, f"{r['target']:g}", f"{r['median']:.3g}", f"{r['p95']:.3g}",
         "" if r["median"] <= r["target"] else "missed"] if r["measured"]
        else [name, f"{r['target']:g}", "not measured", "", ""] for name, r in results.items()
    ]
    print_table(["what", "target", "median", "p95", ""], rows)
