"""What a fusion under way writes down: notes and decisions for its report, seconds by stage, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.progress import Progress


class Stopwatch:
    """Wall-clock seconds by stage. Stages may nest; the inner stage's time is not counted to the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside to `name`."""
        self._lap()
        self._stack.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def _lap(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True)
class RunLog:
    """The log of one fusion.

    progress   where steps say how far they are; whoever listens may raise Cancelled
    notes      lines for the report: fallbacks, and what was left out and why
    decisions  what was chosen automatically and by what measure, for the report
    watch      seconds by stage
    """

    progress: Progress = field(default_factory=Progress)
    notes: list[str] = field(default_factory=list)
    decisions: dict[str, Any] = field(default_factory=dict)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def note(self, line: str) -> None:
        """Put a line into the report."""
        self.notes.append(line)

    def decide(self, what: str, how: Any) -> None:
        """Put into the report what was chosen; how: JSON-able."""
        self.decisions[what] = how

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Count the time inside to stage `name`."""
        return self.watch.stage(name)

    def part(self, low: float, high: float, stage: str | None = None) -> RunLog:
        """The same log for a part of the work, whose progress is that part's."""
        return replace(self, progress=self.progress.part(low, high, stage))
