"""How the app feels: what people wait for, measured in Chromium, beside its target.

    python benchmarks/ux.py [--runs 20] [--parents demo,vgg11,eight] [--axe PATH/axe.min.js]

Starts the app on a free port with a store of its own and takes every measure --runs times: medians and 95th percentiles
are shown. The machine should be idle. demo: what Start fuses; vgg11: two VGG11 with 512 neurons in their widest layers;
eight: eight parents. axe: axe-core (npm), whose serious and critical findings are counted; not measured without it.
Prints a table for each and writes benchmarks/results/ux.json.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from _running import ROOT, names, write_results
from _ux.app import parents, running
from _ux.bench import Bench, show
from _ux.exploring import exploring
from _ux.learning import learning
from _ux.visits import jobs, newcomer, sessions, starts, visits

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
KINDS = ("demo", "vgg11", "eight")


def measure(bench: Bench, kind: str) -> dict[str, Any]:
    """All measures with parents of a kind."""
    if kind == "demo":
        starts(bench)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, running(Path(home)) as app:
        app.wait()
        chosen = newcomer(bench, app) if kind == "demo" else parents(kind, Path(home))
        exploring(bench, app, chosen)
        visits(bench, app, chosen)
        if kind == "demo":
            learning(bench, app)
        jobs(bench, app, chosen)
        sessions(bench, app, chosen)
    return bench.results()


def main() -> None:
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT))
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--parents", type=names, default=list(KINDS))
    options.add_argument("--axe", type=Path)
    chosen = options.parse_args()
    if unknown := [kind for kind in chosen.parents if kind not in KINDS]:
        sys.exit(f"--parents {unknown[0]}: there are {', '.join(KINDS)}")
    if chosen.axe is not None and not chosen.axe.is_file():
        sys.exit(f"--axe: no file {chosen.axe}")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed")
    results: dict[str, Any] = {"runs": chosen.runs}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for kind in chosen.parents:
            bench = Bench(browser, chosen.runs, chosen.axe)
            results[kind] = {"measures": measure(bench, kind), **bench.seen()}
            print(f"\n{kind}")
            show(results[kind]["measures"])
            write_results("ux", results)
        browser.close()


if __name__ == "__main__":
    main()
