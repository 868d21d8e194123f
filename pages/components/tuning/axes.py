"""The axes of a search's parallel coordinates: where a value is on each, and which trials a range leaves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_engine.tuning.space import Dimension

from ..run.reports import METRICS, score_text

LOSS, TEST = "held-out loss", "test"
_TICKS = 5
Ranges = dict[str, tuple[float, float]]
"""By an axis' name what is left of it: numbers, of choices their places."""


@dataclass(frozen=True)
class Axis:
    """One axis. low, high: its ends, as numbers or places of choices. log: by orders of magnitude."""

    name: str
    label: str
    low: float
    high: float
    log: bool = False
    choices: tuple[Any, ...] = ()
    metric: str = ""

    def place(self, value: Any) -> float | None:
        """Where a value is, from 0 to 1; None where it is not on the axis ('auto' among numbers)."""
        if self.choices:
            found = next((i for i, c in enumerate(self.choices) if c == value and type(c) is type(value)), None)
            return None if found is None else self._share(float(found))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return self._share(float(value)) if self.low <= value <= self.high else None

    def _share(self, value: float) -> float:
        low, high = (math.log(end) if self.log else end for end in (self.low, self.high))
        at = math.log(value) if self.log else value
        return 0.5 if high <= low else (at - low) / (high - low)

    def value(self, place: float) -> float:
        """The number, or the place of a choice, at a place."""
        if self.log:
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)

    def number(self, value: Any) -> float | None:
        """A value as ranges have it."""
        place = self.place(value)
        return None if place is None else self.value(place)

    def ticks(self) -> list[tuple[float, str]]:
        """Places with what is written there."""
        if self.choices:
            return [(self._share(float(i)), option(choice)) for i, choice in enumerate(self.choices)]
        if self.high <= self.low:
            return [(0.5, self.text(self.low))]
        return [(i / (_TICKS - 1), self.text(self.value(i / (_TICKS - 1)))) for i in range(_TICKS)]

    def text(self, value: float) -> str:
        return score_text(value, self.metric, 1) if self.metric else f"{value:.3g}"


def option(value: Any) -> str:
    """A choice in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value).replace("_", " ")


def axes(table: Mapping[str, Any]) -> list[Axis]:
    """One axis a parameter, then the held-out loss and, where it was measured, the test figure."""
    found = []
    for written in table["dimensions"]:
        d = Dimension.from_json(written)
        ends = (0.0, float(max(1, len(d.choices) - 1))) if d.choices else (d.low, d.high)
        found.append(Axis(d.path, d.label, *ends, log=d.log, choices=d.choices))
    done = [trial for trial in table["trials"] if trial["loss"] is not None]
    losses = [trial["loss"] for trial in done] or [0.0]
    found.append(Axis(LOSS, "Held-out loss", min(losses), max(losses)))
    metric = table["metric"]
    tested = [value for trial in done if (value := tested_by(trial, metric)) is not None]
    if tested:
        found.append(Axis(TEST, f"Test {METRICS[metric].lower()}", min(tested), max(tested), metric=metric))
    return found


def tested_by(trial: Mapping[str, Any], metric: str) -> float | None:
    """A trial's figure on the test data; None where there is none."""
    return _figure(trial["test"], metric)


def held_by(trial: Mapping[str, Any], metric: str) -> float | None:
    """Its figure on the held-out samples."""
    return _figure(trial["held_out"], metric)


def _figure(measured: Mapping[str, Any] | None, metric: str) -> float | None:
    return None if measured is None else {**measured, **measured["others"]}.get(metric)


def value_of(trial: Mapping[str, Any], axis: Axis, table: Mapping[str, Any]) -> Any:
    """What a trial has on an axis."""
    if axis.name == LOSS:
        return trial["loss"]
    if axis.name == TEST:
        return tested_by(trial, table["metric"])
    start = next(d["start"] for d in table["dimensions"] if d["path"] == axis.name)
    return trial["settings"].get(axis.name, start)


def left(table: Mapping[str, Any], along: Sequence[Axis], ranges: Ranges) -> list[Mapping[str, Any]]:
    """The trials within all ranges; one without a value on an axis that has a range is not."""
    def within(trial: Mapping[str, Any], axis: Axis) -> bool:
        number, (low, high) = axis.number(value_of(trial, axis, table)), ranges[axis.name]
        slack = 1e-6 * max(abs(low), abs(high))
        return number is not None and low - slack <= number <= high + slack

    limited = [axis for axis in along if axis.name in ranges]
    return [trial for trial in table["trials"] if all(within(trial, axis) for axis in limited)]


def read_ranges(text: str, along: Sequence[Axis]) -> Ranges:
    """Ranges from an address: 'solver.ridge=0.001:1;held-out loss=0.2:0.3'. What fits no axis is left out."""
    names, found = {axis.name for axis in along}, {}
    for part in filter(None, text.split(";")):
        name, _, ends = part.partition("=")
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError:
            continue
        if name in names and low <= high:
            found[name] = (low, high)
    return found


def written_ranges(ranges: Ranges) -> str:
    return ";".join(f"{name}={low:.6g}:{high:.6g}" for name, (low, high) in ranges.items())
