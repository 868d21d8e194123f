"""Progress of long work: one object that reports, hands out its parts, and through which a request to cancel comes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class ProgressEvent:
    """What a listener is told. `fraction` is of the whole job, in [0, 1], and never falls. detail: JSON-able facts for
    who draws them (losses of a level)."""

    stage: str
    fraction: float
    message: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[ProgressEvent], None]
"""Called with events. It may raise `core.errors.Cancelled`, which ends the work; nothing half-done is kept."""


def no_progress(event: ProgressEvent) -> None:
    """The listener that does nothing."""


class Progress:
    """A stretch of work, as a part [low, high] of a whole.

    It is a listener itself: events of work that is done inside (`fuse(..., on_progress=progress.part(0.1, 0.8))`) are
    brought into its part. Whatever a listener raises, `Cancelled` above all, comes out of `report`.
    """

    def __init__(self, listener: Listener = no_progress, *, stage: str = "") -> None:
        self._listener, self._stage, self._low, self._high, self._message = listener, stage, 0.0, 1.0, ""
        self._reached = [0.0]  # of the whole; shared by all parts

    @classmethod
    def to(cls, listener: Listener) -> Progress:
        """The progress that reports to `listener`: itself, if it is one already."""
        return listener if isinstance(listener, Progress) else cls(listener)

    def report(self, fraction: float, message: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """Tell the listener how much of this part is done. The whole never falls back."""
        self(ProgressEvent(self._stage, fraction, message, detail or {}))

    def __call__(self, event: ProgressEvent) -> None:
        """An event of work inside this part; its fraction is of this part."""
        at = self._low + (self._high - self._low) * min(max(event.fraction, 0.0), 1.0)
        self._reached[0] = max(self._reached[0], round(at, 6))
        stage, message = self._stage or event.stage, self._message or event.message
        self._listener(ProgressEvent(stage, self._reached[0], message, event.detail))

    def part(self, low: float, high: float, stage: str | None = None) -> Progress:
        """The part of this one from `low` to `high`, under a stage of its own if one is named."""
        inner, width = copy.copy(self), self._high - self._low
        inner._stage = self._stage if stage is None else stage
        inner._low, inner._high = self._low + width * low, self._low + width * high
        return inner

    def saying(self, message: str) -> Progress:
        """The same, whose events all say `message`."""
        inner = copy.copy(self)
        inner._message = message
        return inner

    def each(self, items: Collection[T], message: Callable[[T], str] = lambda item: "") -> Iterator[tuple[T, Progress]]:
        """The items, each with its share of this part; a report before each says `message(item)`."""
        for number, item in enumerate(items):
            share = self.part(number / len(items), (number + 1) / len(items))
            share.report(0.0, message(item))
            yield item, share
