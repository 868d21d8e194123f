"""Parts of a progress add up, the whole never falls, and what a listener raises comes through."""

from __future__ import annotations

import pytest

from fusion_engine.core.errors import Cancelled
from fusion_engine.core.progress import Progress, ProgressEvent


def test_parts_of_parts_land_where_they_belong() -> None:
    seen: list[ProgressEvent] = []
    progress = Progress(seen.append)
    progress.part(0.2, 0.6, "solve").part(0.5, 1.0).report(0.5, "half-way", {"level": "fc1"})
    assert seen == [ProgressEvent("solve", 0.5, "half-way", {"level": "fc1"})]


def test_the_whole_never_falls() -> None:
    seen: list[ProgressEvent] = []
    progress = Progress(seen.append)
    progress.part(0.5, 1.0).report(0.2)
    progress.part(0.0, 0.5).report(1.0)
    progress.report(-3.0)
    assert [event.fraction for event in seen] == [0.6, 0.6, 0.6]


def test_work_inside_reports_into_its_part() -> None:
    seen: list[ProgressEvent] = []
    outer = Progress(seen.append)
    inner = Progress.to(outer.part(0.5, 1.0))
    inner.part(0.0, 0.5, "trace").report(1.0, "done")
    assert seen == [ProgressEvent("trace", 0.75, "done")]


def test_each_shares_the_part_out_evenly() -> None:
    seen: list[ProgressEvent] = []
    for item, share in Progress(seen.append).each(["a", "b"], lambda item: f"now {item}"):
        share.report(0.5, item)
    assert [(e.fraction, e.message) for e in seen] == [(0.0, "now a"), (0.25, "a"), (0.5, "now b"), (0.75, "b")]


def test_a_request_to_cancel_comes_out_of_the_report() -> None:
    def listener(event: ProgressEvent) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        Progress(listener).part(0.0, 0.1).report(0.0)
