"""A leaderboard as text, and its live form in a terminal."""

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from fusion_engine.core.progress import Listener, ProgressEvent
from fusion_engine.core.types import merit
from fusion_engine.leaderboard.rows import label

from ..output import figure, table


def text(board: Mapping[str, Any]) -> str:
    """The table of `standings`, best first, with the references among the rows and the reasons below."""
    metric = next((entry["metric"] for entry in board["entries"] if entry["score"]), "accuracy")
    lines = [(merit(metric, entry["score"]["mean"]), _cells(entry)) for entry in board["entries"] if entry["score"]]
    for reference in board["references"]:
        if reference.get(metric) is not None:
            cells = (f"({reference['name'].replace('_', ' ')})", figure(reference, metric), *[""] * 4)
            lines.append((merit(metric, reference[metric]), cells))
    lines.sort(key=lambda line: -line[0])
    shown = [table(("recipe", metric, "+-", "seconds", "MB", "seeds"), [cells for _, cells in lines])]
    shown += [board["pays"]] if board.get("pays") else []
    without = [entry for entry in board["entries"] if not entry["score"]]
    shown += [f"{entry['label']}: {entry['reason'] or 'waiting'}" for entry in without]
    shown.append(f"{board['done']} of {board['total']} rows; * no other is both faster and more accurate")
    return "\n".join(shown)


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    score, metric, front = entry["score"], entry["metric"], " *" if entry["pareto"] else ""
    spread = f"{100 * score['std']:.2f}" if metric == "accuracy" else f"{score['std']:.4f}"
    several = spread if len(entry["seeds"]) > 1 else ""
    seeds = f"{len(entry['seeds'])}/{entry['planned']}"
    memory = f"{entry['peak_memory_mb']:.0f}"
    mean = figure({metric: score["mean"]}, metric)
    return entry["label"] + front, mean, several, f"{entry['seconds']:.2f}", memory, seeds


class LiveTable:
    """On a terminal the table, rewritten with every row, and a line of progress; elsewhere one line a row (stderr)."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._height = 0
        self._lines: list[str] = []

    def show(self, board: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """After a row is done."""
        if not self._terminal:
            sys.stderr.write(f"[{board['done']}/{board['total']}] {_line(row)}\n")
            sys.stderr.flush()
            return
        height = shutil.get_terminal_size().lines - 2
        self._lines = text(board).splitlines()[: max(3, height)]
        self._draw(self._lines)

    def progress(self, name: str) -> Listener:
        """A callback for one row's progress."""

        def report(event: ProgressEvent) -> None:
            if self._terminal:
                width = shutil.get_terminal_size().columns - 1
                self._draw([*self._lines, f"{name}: {event.stage} {event.message}"[:width]])

        return report

    def clear(self) -> None:
        """Remove what was drawn."""
        if self._terminal:
            self._draw([])

    def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._height}A" if self._height else ""
        sys.stderr.write(up + "\r\x1b[J" + "".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        self._height = len(lines)


def _line(row: Mapping[str, Any]) -> str:
    name = label(row) if row["kind"] == "fusion" else "references"
    if row["state"] != "done":
        return f"{name}: {row['reason']}"
    if "seed" not in row:
        return name
    return f"{name}, seed {row['seed']}: {figure(row, row.get('metric', 'accuracy'))} in {row['cost']:.2f} s"
