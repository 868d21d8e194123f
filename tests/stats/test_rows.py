"""Unfolded inputs times the flattened weight equal the layer's output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fusion_engine.core.types import Layer
from fusion_engine.stats import feature_rows, layer_rows


def layer(kind: str, **options: Any) -> Layer:
    return Layer("l", kind, "w", None, None, "in", "out", None, options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(3, 5, 3, padding=1), (4, 3, 8, 7)),
        (nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(2, 3)), (4, 3, 11, 9)),
        (nn.Conv2d(3, 4, (4, 3), padding="same"), (2, 3, 8, 8)),
        (nn.Conv2d(3, 4, 2, padding="valid"), (2, 3, 8, 8)),
        (nn.Conv1d(2, 3, 3, stride=2, padding=1), (3, 2, 9)),
        (nn.Conv3d(2, 3, 2, padding=1), (2, 2, 4, 5, 3)),
    ],
)
@pytest.mark.parametrize("limit", [1, 2**26])
def test_patches_times_weight_is_the_convolution(module: Any, shape: tuple[int, ...], limit: int) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    options = {key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups")}
    spec = layer("conv", **options)
    chunks = list(layer_rows(spec, x, module.weight.shape, limit_bytes=limit))
    assert len(chunks) == (len(x) if limit == 1 else 1)
    out = torch.cat(chunks) @ module.weight.detach().flatten(1).T + module.bias.detach()
    torch.testing.assert_close(out, feature_rows(spec, module(x).detach()), atol=1e-5, rtol=1e-5)


def test_groups_are_stretches_of_the_columns() -> None:
    module = nn.Conv2d(4, 6, 3, groups=2, bias=False)
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    spec = layer("conv", groups=2)
    (rows,) = layer_rows(spec, x, module.weight.shape)
    parts = [r @ w.flatten(1).T for r, w in zip(rows.chunk(2, 1), module.weight.detach().chunk(2), strict=True)]
    torch.testing.assert_close(torch.cat(parts, 1), feature_rows(spec, module(x).detach()), atol=1e-5, rtol=1e-5)


def test_linear_rows_flatten_leading_dimensions_in_bounded_chunks() -> None:
    module = nn.Linear(5, 3)
    x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    chunks = list(layer_rows(layer("linear"), x, limit_bytes=7 * 5 * 4))
    assert max(map(len, chunks)) == 7
    out = torch.cat(chunks) @ module.weight.detach().T + module.bias.detach()
    torch.testing.assert_close(out, feature_rows(layer("linear"), module(x).detach()))


def test_a_convolution_needs_its_kernel() -> None:
    with pytest.raises(ValueError, match="weight shape"):
        next(layer_rows(layer("conv"), torch.zeros(1, 1, 3, 3)))
