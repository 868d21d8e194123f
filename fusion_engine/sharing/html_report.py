"""A run as one HTML file with live charts: opened from disk, it asks for nothing anywhere.

Plotly's script, from its Python package, is inside of it, and a content security policy forbids every request. Whatever
came from a user or a file is escaped.
"""

import importlib.util
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from .. import __version__
from ..core.errors import StoreError
from ..core.files import atomic_path
from ..core.recipe import Recipe
from ..store.described.about import about_in
from ..store.files import read_json
from ..store.home import check_id
from ..store.runs import read_job, read_status, run_folder
from .report_parts import Part, accuracy_part, classes_part, escaped, plane_part, seconds_part, spaces_part

_MOST_PLANES = 6
_MOST_ROWS = 500  # of one table


def run_report(run: str | Path) -> str:
    """The report of a finished fusion as HTML: of a run in the store by its id, or of the folder that
    `FusionResult.save` or a job wrote. StoreError in one line where there is none."""
    if isinstance(run, Path) or Path(run).is_dir():
        return _report(Path(run), Path(run).resolve().name, None)
    folder, job = run_folder(check_id(run)), read_job(run)
    if job["kind"] != "fuse" or read_status(run)["state"] != "done":
        raise StoreError(f"run {run} is no finished fusion, so there is no report of it")
    return _report(folder, run, job["created"])


def write_html_report(run: str | Path, target: str | Path) -> None:
    """Write `run_report`: the whole file appears, or nothing."""
    text = run_report(run)
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _report(folder: Path, name: str, created: float | None) -> str:
    if not (folder / "report.json").is_file():
        raise StoreError(f"{folder.name}: there is no report.json; give a fusion's run, or the folder it was saved to")
    report, explored = (
        read_json(folder / file, f"{file} of {name}") if (folder / file).is_file() else {}
        for file in ("report.json", "explore.json")
    )
    try:
        parts = [accuracy_part(report), classes_part(report), spaces_part(explored), *_planes(folder, explored),
                 seconds_part(report)]
        return _page(name, created, report, about_in(folder), [part for part in parts if part is not None])
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, EOFError, BadZipFile, zlib.error):
        raise StoreError(f"the report of {name} is damaged, or of a version that is not read") from None


def _planes(folder: Path, explored: Mapping[str, Any]) -> list[Part]:
    path = folder / "explore.npz"
    if not path.is_file() or not explored:
        return []
    import numpy as np

    parts = []
    with np.load(path, allow_pickle=False) as archive:
        for space in explored["spaces"][:_MOST_PLANES]:
            names = ("parent", "neuron", "group", "importance", "pca")
            arrays = {name: archive[f"{space['index']}/{name}"] for name in names}
            parts.append(plane_part(space, explored["parents"], arrays))
    return parts


@cache
def _plotly() -> str:
    """Plotly's script; found without importing the package."""
    found = importlib.util.find_spec("plotly")
    path = Path((found and found.origin) or "").parent / "package_data" / "plotly.min.js"
    if not path.is_file():
        raise StoreError("the package plotly is not installed, and the charts of a report need it")
    return path.read_text(encoding="utf-8")


def _page(
    name: str, created: float | None, report: Mapping[str, Any], about: Mapping[str, Any], parts: Sequence[Part]
) -> str:
    title = str(about.get("name") or f"Fusion {name}")
    recipe = Recipe.from_mapping(report["recipe"])
    facts = {
        "Run": name, "Recipe": recipe.name, "Seed": report["seed"],
        "Parents": ", ".join(str(entry["file"]) for entry in report.get("parents", [])) or "–",
        "Calibration samples": (report.get("calibration") or {}).get("samples", "–"),
        "Fused in": f"{report['seconds']['total']:.2f} s", "Tags": ", ".join(map(str, about.get("tags", []))) or "–",
        "Made": "–" if created is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(created)),
        "Versions": ", ".join(f"{key} {value}" for key, value in report.get("versions", {}).items()) or "–",
    }  # fmt: skip
    notes = "".join(f"<li>{escaped(line)}</li>" for line in report["warnings"])
    charts = [{"traces": part.traces, "layout": part.layout} for part in parts]
    # In a script element only what looks like a tag could end it.
    data = json.dumps(charts, allow_nan=False).replace("<", "\\u003c")
    sections = "".join(_section(number, part) for number, part in enumerate(parts))
    table = "".join(f"<tr><th>{key}</th><td>{escaped(value)}</td></tr>" for key, value in facts.items())
    note = f'<p class="note">{escaped(about["note"])}</p>' if about.get("note") else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escaped(title)}</h1>
{note}
<table class="facts">{table}</table>
{f"<h2>Notes</h2><ul>{notes}</ul>" if notes else ""}
{sections}
<section><h2>Recipe</h2><pre>{escaped(recipe.to_yaml())}</pre></section>
<footer>Written by Neuron Fusion Lab {escaped(__version__)}. This file asks for nothing from anywhere.</footer>
</main>
<script>{_plotly()}</script>
<script>const CHARTS = {data};
{_SCRIPT}</script>
</body>
</html>
"""


def _section(number: int, part: Part) -> str:
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in part.header)
    cells = ("".join(f"<td>{escaped(cell)}</td>" for cell in row) for row in part.rows[:_MOST_ROWS])
    rows = "".join(f"<tr>{row}</tr>" for row in cells)
    more = len(part.rows) - _MOST_ROWS
    cut = f"<p>{more:,} more rows are in the run's own files.</p>" if more > 0 else ""
    return (
        f'<section><h2>{escaped(part.title)}</h2><div class="chart" id="chart-{number}" role="img" '
        f'aria-label="{escaped(part.alt)}"></div><details><summary>As a table</summary><div class="wide"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{cut}</details></section>\n"
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #1F2A37; --muted: #5B6775; --line: #DDE3EA; --page: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #E6EAF0; --muted: #A3AEBB; --line: #3A4552; --page: #12161C } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem }
h1 { margin: 0 0 .5rem } h2 { margin: 2rem 0 .5rem; font-size: 1.25rem }
table { border-collapse: collapse; font-size: .95rem } th, td { text-align: left; padding: .25rem .9rem .25rem 0 }
thead th { border-bottom: 1px solid var(--line) } .facts th { color: var(--muted); font-weight: 500 }
.note { white-space: pre-wrap } .wide { overflow-x: auto; max-height: 24rem; overflow-y: auto }
pre { background: color-mix(in srgb, var(--line) 40%, transparent); padding: 1rem; overflow-x: auto }
summary { cursor: pointer; color: var(--muted) } footer { margin-top: 3rem; color: var(--muted); font-size: .9rem }
"""
_SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)")
function draw() {
  const ink = dark.matches ? "#E6EAF0" : "#1F2A37", line = dark.matches ? "#2A3340" : "#E8ECF1"
  CHARTS.forEach((chart, number) => {
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line }
    const layout = { ...chart.layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 14 }, margin: { l: 60, r: 20, t: 12, b: 50, ...chart.layout.margin },
      xaxis: { ...axis, ...chart.layout.xaxis }, yaxis: { ...axis, ...chart.layout.yaxis } }
    Plotly.newPlot("chart-" + number, chart.traces, layout,
      { responsive: true, displaylogo: false, plotlyServerURL: "", showSendToCloud: false })
  })
}
dark.addEventListener("change", draw)
draw()
"""
