"""A run's listener to progress: events into its folder, and an ear for its cancellation."""

import math
import time

from fusion_engine import store
from fusion_engine.core.errors import Cancelled
from fusion_engine.core.progress import ProgressEvent


class RunProgress:
    """A listener that appends to the run's events and raises Cancelled when the run has ended meanwhile.

    Events closer together than `interval` seconds are dropped unless the stage changes or the detail says that
    something is done. Events with a detail have an interval of their own, so that those without, which solvers may
    report far more often, do not crowd them out. The end of the run is looked for at least ten times a second.
    """

    def __init__(self, run: str, interval: float = 0.1) -> None:
        self._run, self._attempt, self._interval = run, store.attempt_of(run), interval
        self._stage, self._fraction = "", 0.0
        self._checked = -math.inf  # the clock starts with the machine
        self._written = {True: -math.inf, False: -math.inf}

    def __call__(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if now - self._checked > 0.05:
            self._checked = now
            self.check()
        self._fraction = max(self._fraction, min(1.0, event.fraction))
        detailed = bool(event.detail)
        telling = event.stage != self._stage or bool(event.detail.get("done"))
        if telling or now - self._written[detailed] >= self._interval:
            self._stage = event.stage
            self._written[detailed] = now
            store.append_event(
                self._run, ProgressEvent(event.stage, self._fraction, event.message, event.detail)
            )

    def check(self) -> None:
        """Raise Cancelled if the run was cancelled or deleted, or has ended some other way."""
        if store.ended(self._run, self._attempt):
            raise Cancelled(self._run)
