"""What commands write to the terminal, and whether they may write where they were told to."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_engine.core.errors import FusionError
from fusion_engine.core.files import atomic_path
from fusion_engine.core.progress import Listener, ProgressEvent, no_progress


def check_writable(*paths: Path | None) -> None:
    """FusionError unless every given path can be written: asked before an hour of work, not after it."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise FusionError(f"{path}: this is a folder; give the name of a file")
        if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise FusionError(f"{path}: its folder does not exist or cannot be written to; make it first")
    given = [path.absolute() for path in paths if path is not None]
    if len(set(given)) < len(given):
        raise FusionError(f"{given[0].name}: two outputs have the same name")


@contextmanager
def progress_line() -> Iterator[Listener]:
    """A listener that keeps one line on stderr, rewritten at each event; it does nothing where that is no terminal."""
    width = 0

    def show(event: ProgressEvent) -> None:
        nonlocal width
        text = f"{event.fraction:4.0%} {event.stage} {event.message}"[:100]
        sys.stderr.write("\r" + text.ljust(width))
        sys.stderr.flush()
        width = len(text)

    try:
        yield show if sys.stderr.isatty() else no_progress
    finally:
        if width:
            sys.stderr.write("\r" + " " * width + "\r")
            sys.stderr.flush()


def write_report(path: Path | None, report: object) -> None:
    """Write `report` as JSON, whole or not at all; nothing where no path was given."""
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def figure(entry: Mapping[str, Any], metric: str) -> str:
    """The figure that networks are compared by, as text."""
    value = entry.get(metric)
    if value is None:
        return "-"
    return f"{value:.2%}" if metric == "accuracy" else f"{value:.4f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Text table: left-aligned words, right-aligned numbers."""
    texts = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    columns = list(zip(header, *texts, strict=True)) if texts else [(h,) for h in header]
    widths = [max(map(len, column)) for column in columns]
    numeric = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = []
    for cells in [list(header), ["-" * w for w in widths], *texts]:
        padded = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
