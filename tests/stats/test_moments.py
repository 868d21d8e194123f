"""Streaming moments against the plain formula in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_engine.stats import CrossAccumulator, GramAccumulator


def data(rows: int, width: int, offset: float = 0.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) + offset


def accumulated(batches: list[torch.Tensor], **options: str) -> GramAccumulator:
    moments = GramAccumulator(batches[0].shape[1], **options)
    for batch in batches:
        moments.update(batch)
    return moments


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    seed=st.integers(0, 5),
    offset=st.sampled_from([0.0, 50.0]),
)
def test_batch_size_and_order_do_not_matter(cuts: list[int], seed: int, offset: float) -> None:
    x = data(sum(cuts), 7, offset, seed)
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    moments = accumulated(list(shuffled.split(cuts)))
    assert moments.count == len(x)
    assert relative(moments.gram, x.T @ x) < 1e-12
    assert relative(moments.mean, x.mean(0)) < 1e-12


def test_float32_rows_in_both_layouts_give_the_same_moments() -> None:
    x = data(300, 20).float()
    a, b, c = (accumulated([v]) for v in (x, x.T.contiguous().T, torch.cat([x, x], 1)[:, :20]))
    assert torch.equal(a.gram, a.gram.T)
    assert relative(a.gram, x.double().T @ x.double()) < 1e-13
    assert relative(b.gram, a.gram) < 1e-13
    assert relative(c.gram, a.gram) < 1e-13


def test_mixed_precision_only_changes_large_products() -> None:
    small, large = data(50, 20), data(3000, 200, 5.0)
    assert torch.equal(accumulated([small], precision="mixed").gram, accumulated([small]).gram)
    mixed = accumulated([large], precision="mixed").gram
    assert not torch.equal(mixed, accumulated([large]).gram)
    assert relative(mixed, large.T @ large) < 1e-6


def test_nothing_seen_and_wrong_widths() -> None:
    moments = GramAccumulator(3)
    moments.update(torch.zeros(0, 3))
    assert moments.count == 0
    assert torch.equal(moments.gram, torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="width 3"):
        moments.update(torch.zeros(2, 4))


@pytest.mark.parametrize("precision", ["double", "mixed"])
def test_cross_moments_equal_the_formula(precision: str) -> None:
    x, f = data(2000, 150, 4.0), data(2000, 30, -2.0, 1)
    tolerance = 1e-12 if precision == "double" else 1e-5
    moments = CrossAccumulator(150, 30, precision=precision)
    for part in torch.arange(2000).split(300):
        moments.update(x[part], f[part])
    ones = torch.cat([x, torch.ones(2000, 1, dtype=torch.float64)], 1)
    xx, xf = moments.with_bias()
    assert relative(xx, ones.T @ ones) < tolerance
    assert relative(xf, ones.T @ f) < tolerance


def test_cross_rows_must_belong_together() -> None:
    with pytest.raises(ValueError, match="do not go with"):
        CrossAccumulator(2, 2).update(torch.zeros(3, 2), torch.zeros(4, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moments_on_a_cuda_device_equal_the_cpu_s() -> None:
    x = data(500, 30, 2.0)
    moments = GramAccumulator(30)
    for batch in x.cuda().split(64):
        moments.update(batch)
    assert moments.gram.is_cuda
    assert relative(moments.gram.cpu(), accumulated([x]).gram) < 1e-12


@pytest.mark.parametrize("positions", [3, 100])
def test_maps_are_rows(positions: int) -> None:
    maps = torch.randn(7, 5, positions, generator=torch.Generator().manual_seed(0)) + 2
    rows = maps.movedim(1, -1).reshape(-1, 5)
    for precision in ("double", "mixed"):
        accumulator = GramAccumulator(5, precision=precision)
        accumulator.update_maps(maps[:3])
        accumulator.update_maps(maps[3:])
        torch.testing.assert_close(accumulator.gram, rows.double().T @ rows.double(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(accumulator.mean, rows.double().mean(0), rtol=1e-6, atol=1e-6)
        assert accumulator.count == len(rows)
