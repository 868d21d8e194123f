"""Moments without unfolding equal those of the unfolded patches."""

from __future__ import annotations

import pytest
import torch

from fusion_engine.core.types import Layer
from fusion_engine.stats import ConvMoments, layer_rows


def layer(kernel: int, **options) -> Layer:
    return Layer("c", "conv", "w", "b", None, "in", "out", None, {"padding": (kernel // 2,) * 2, **options})


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [(6, 7), (2, 2), (1, 3), (1, 1)])
def test_equal_to_unfolded_patches(kernel: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, *size, generator=generator) + 1
    f = torch.randn(5 * size[0] * size[1], 3, generator=generator)
    moments = ConvMoments(4, (kernel, kernel), 3)
    cut = size[0] * size[1]
    moments.update(x[:2], f[: 2 * cut])
    moments.update(x[2:], f[2 * cut :])
    rows = torch.cat(list(layer_rows(layer(kernel), x, (3, 4, kernel, kernel)))).double()
    ones = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
    xx, xf = moments.with_bias()
    torch.testing.assert_close(xx, ones.T @ ones, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(xf, ones.T @ f.double(), rtol=1e-5, atol=1e-4)
    assert moments.count == len(rows)


def test_only_where_it_holds() -> None:
    shape = (8, 4, 3, 3)
    assert ConvMoments.applies(layer(3), shape)
    assert ConvMoments.applies(layer(3, padding="same"), shape)
    for wrong in ({"stride": (2, 2)}, {"padding": (0, 0)}, {"dilation": (2, 2)}, {"groups": 2}, {"transposed": True}):
        assert not ConvMoments.applies(layer(3, **wrong), shape)
    assert not ConvMoments.applies(layer(4, padding=(2, 2)), (8, 4, 4, 4))
