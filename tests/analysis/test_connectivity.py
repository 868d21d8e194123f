"""Paths between networks: their ends, their barriers, and what alignment does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from analysis_cases import case, shuffled, small_batch_normed

from fusion_engine.analysis import Path, align, connectivity, interpolate
from fusion_engine.core.errors import Cancelled, DataError, RecipeError
from fusion_engine.core.progress import Progress, ProgressEvent

MODELS = ["mlp", "vgg_bn_2fc", "resnet"]


def test_a_barrier_is_the_height_above_the_line_between_the_ends() -> None:
    path = Path((0.0, 0.25, 0.5, 1.0), (1.0, 2.0, 2.0, 3.0), (0.8, 0.5, 0.9, 0.6))
    assert path.barrier == pytest.approx(0.5)  # at a quarter: 2 - (0.75 + 0.75)
    assert path.error_barrier == pytest.approx(0.25)  # error 0.5 against 0.2 + 0.25 * 0.2
    assert Path((0.0, 0.5, 1.0), (3.0, 1.0, 2.0), (0.1, 0.9, 0.1)).barrier == 0


@pytest.mark.parametrize("name", MODELS)
def test_the_ends_are_the_networks_themselves(name: str) -> None:
    c = case(name)
    found = connectivity(c.trace, c.first, c.second, c.data, points=3, recalibrate=False)
    for paths in (found.as_is, found.aligned):
        assert paths.whole.loss[0] == pytest.approx(c.loss(c.first), rel=1e-5)
        assert paths.whole.accuracy[0] == c.right(c.first) == 1
        assert paths.whole.loss[-1] == pytest.approx(c.loss(c.second), rel=1e-4)
        assert paths.whole.accuracy[-1] == pytest.approx(c.right(c.second), abs=1 / len(c.data))
        last = paths.levels[-1].cumulative  # all levels together: the middle of the whole path
        assert last.loss == pytest.approx(paths.whole.loss[1], rel=1e-6)
        assert [level.name for level in paths.levels] == [level.name for level in c.trace.levels]
    middle = interpolate(c.first, c.second, 0.5)
    assert found.as_is.whole.loss[1] == pytest.approx(c.loss(middle), rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_copies_in_another_order_have_no_barrier_once_aligned(name: str) -> None:
    c = case(name)
    copy, _ = shuffled(c.trace, c.first)
    found = connectivity(c.trace, c.first, copy, c.data, points=3, recalibrate=name != "vgg_bn_2fc")
    assert found.recalibrated == (name == "resnet")
    assert found.as_is.whole.loss[1] != pytest.approx(found.as_is.whole.loss[0], rel=0.02)
    assert found.aligned.whole.barrier < 1e-4
    assert found.aligned.whole.error_barrier == 0
    for level in found.aligned.levels:
        for averaged in (level.single, level.cumulative):
            assert averaged.loss == pytest.approx(found.aligned.whole.loss[0], rel=1e-4)
            assert averaged.error_barrier == 0
    middle = interpolate(c.first, align(c.trace, c.first, copy, c.data, "hungarian"), 0.5)
    for key, tensor in c.first.items():
        torch.testing.assert_close(middle[key], tensor, rtol=0, atol=0)


def test_a_levels_barrier_is_of_averaging_it() -> None:
    c = case("mlp")
    found = connectivity(c.trace, c.first, c.second, c.data, points=3).as_is
    middle = interpolate(c.first, c.second, 0.5)
    before: set[str] = set()
    for number, level in enumerate(c.trace.levels):
        before |= set(level.tensors)
        for part, names in (("single", set(level.tensors)), ("cumulative", before)):
            changed = {n: middle[n] if n in names else t for n, t in c.first.items()}
            averaged = getattr(found.levels[number], part)
            assert averaged.loss == pytest.approx(c.loss(changed), rel=1e-5)
            assert averaged.barrier == pytest.approx(
                c.loss(changed) - (c.loss(c.first) + c.loss(c.second)) / 2, rel=1e-4
            )
            assert averaged.error_barrier == pytest.approx(
                (c.right(c.first) + c.right(c.second)) / 2 - c.right(changed), abs=1e-6
            )
    assert before >= set(c.trace.parameters)


def test_recalibration_makes_the_statistics_those_of_the_data() -> None:
    """Batch norms with statistics from elsewhere: with recalibration they no longer matter."""
    c = small_batch_normed()
    off = {n: t * 5 if n.endswith("running_var") else t for n, t in c.first.items()}
    plain = connectivity(c.trace, c.first, off, c.data, points=3, recalibrate=False).as_is.whole
    renewed = connectivity(c.trace, c.first, off, c.data, points=3).as_is.whole
    assert plain.loss[0] != pytest.approx(plain.loss[-1], rel=1e-3)
    assert renewed.loss == pytest.approx([renewed.loss[0]] * 3, rel=1e-5)


def test_nothing_given_changes_and_counters_are_the_firsts() -> None:
    c = small_batch_normed()
    counter = next(n for n in c.first if n.endswith("num_batches_tracked"))
    second = c.second | {counter: torch.tensor(9)}
    before = {n: t.clone() for n, t in c.first.items()}
    connectivity(c.trace, c.first, second, c.data, points=2)
    assert all(torch.equal(before[n], t) for n, t in c.first.items())
    assert interpolate(c.first, second, 0.5)[counter] == c.first[counter]


def test_what_cannot_be() -> None:
    c = case("mlp")
    with pytest.raises(RecipeError, match="does not pair neurons"):
        align(c.trace, c.first, c.second, c.data, "kmeans")
    with pytest.raises(DataError, match="no labels"):
        connectivity(c.trace, c.first, c.second, replace(c.data, y=None))


def test_progress_and_cancel() -> None:
    c = case("mlp")
    events: list[ProgressEvent] = []
    connectivity(c.trace, c.first, c.second, c.data, points=3, progress=Progress(events.append))
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert 0.7 < fractions[-1] <= 1
    assert {event.stage for event in events} == {"connectivity"}

    def stop(event: ProgressEvent) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        connectivity(c.trace, c.first, c.second, c.data, progress=Progress(stop))
