"""Grouped convolutions solved group by group, against dense ridge regression of every group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fusion_engine.graph import trace
from fusion_engine.solvers.least_squares.grouped_ridge import GroupedRegression
from fusion_engine.stats import layer_rows


def problem(groups: int) -> tuple[GroupedRegression, Tensor, Tensor, Tensor]:
    torch.manual_seed(groups)
    conv = nn.Conv2d(6, 12, 3, padding=1, groups=groups)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(12 * 25, 3))
    x = torch.randn(20, 6, 5, 5)
    layer = trace(model, (x[:2],)).layers["0"]
    rows = torch.cat(list(layer_rows(layer, x, tuple(conv.weight.shape))))
    targets = torch.randn(len(rows), 12)
    regression = GroupedRegression(layer, tuple(conv.weight.shape), bias=True)
    held = torch.arange(20) % 5 == 0
    for part in torch.arange(20).split(7):
        t = targets.reshape(20, 25, 12)[part].reshape(-1, 12)
        regression.add(x[part], t, held[part])
    return regression, rows.double(), targets.double(), torch.randn(12, 6 // groups * 9 + 1).double()


@pytest.mark.parametrize("groups", [2, 3, 6])
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_equals_dense_ridge(groups: int, ridge: float) -> None:
    regression, rows, targets, start = problem(groups)
    found = regression.solve(start, ridge).weights
    d, m = rows.shape[1] // groups, 12 // groups
    for g in range(groups):
        x = torch.cat([rows[:, g * d : (g + 1) * d], rows.new_ones(len(rows), 1)], 1)
        t, w0 = targets[:, g * m : (g + 1) * m], start[g * m : (g + 1) * m]
        lam = ridge * float(x[:, :-1].square().sum(0).mean())
        right = x.T @ (t - x @ w0.T)
        wanted = w0 + torch.linalg.solve(x.T @ x + lam * torch.eye(d + 1).double(), right).T
        torch.testing.assert_close(found[g * m : (g + 1) * m], wanted, rtol=1e-6, atol=1e-8)


def test_lambda_is_chosen_by_held_out_error() -> None:
    regression, _, _, start = problem(3)
    result = regression.solve(torch.zeros_like(start), None)
    assert result.held_out_error is not None
    assert result.ridge > 1e-4, "targets are noise: fitting them closely does not pay"
    again = regression.solve(torch.zeros_like(start), None, guess=1e-4)
    assert again.ridge >= 1e-4
