"""Ridge regression towards given weights, against direct formulas."""

from __future__ import annotations

import pytest
import torch

from fusion_engine.core.types import Layer
from fusion_engine.solvers.least_squares.ridge import GRID, Regression


def problem(rows: int, columns: int = 6, outputs: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator) + 0.5
    t = torch.randn(rows, outputs, generator=generator)
    start = torch.randn(outputs, columns + 1, generator=generator, dtype=torch.float64)
    return x, t, start


def regression_of(x, t) -> Regression:
    layer = Layer("l", "linear", "w", "b", None, "in", "out", None)
    return Regression(layer, (t.shape[1], x.shape[1]), t.shape[1], bias=True, rows=len(x), merge_later=True)


def solved(x, t, start, ridge, cut: int | None = None, held=None):
    regression = regression_of(x, t)
    held = torch.zeros(len(x), dtype=torch.bool) if held is None else held
    for part in range(0, len(x), cut or len(x)):
        rows = slice(part, part + (cut or len(x)))
        regression.add(x[rows], t[rows], held[rows])
    return regression.solve(start, ridge)


def direct(x, t, start, ridge):
    a = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    lam = ridge * float(x.double().square().mean()) * len(x)
    eye = torch.eye(a.shape[1], dtype=torch.float64)
    return torch.linalg.solve(a.T @ a + lam * eye, a.T @ t.double() + lam * start.T).T


@pytest.mark.parametrize("rows", [4, 7, 60])
def test_primal_and_dual_equal_the_normal_equations(rows: int) -> None:
    """4 rows of 6 columns are solved in the dual, 60 in the primal."""
    x, t, start = problem(rows)
    torch.testing.assert_close(solved(x, t, start, 0.1).weights, direct(x, t, start, 0.1), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rows", [4, 60])
def test_batches_do_not_matter(rows: int) -> None:
    x, t, start = problem(rows)
    torch.testing.assert_close(solved(x, t, start, 0.1, cut=3).weights, solved(x, t, start, 0.1).weights)


@pytest.mark.parametrize("rows", [4, 60])
def test_infinite_ridge_gives_the_average(rows: int) -> None:
    x, t, start = problem(rows)
    torch.testing.assert_close(solved(x, t, start, 1e12).weights, start, rtol=1e-9, atol=1e-9)


def test_no_ridge_is_least_squares_and_survives_rank_deficiency() -> None:
    x, t, start = problem(60)
    x = torch.cat([x, x[:, :1]], 1)  # a repeated column
    start = torch.cat([start[:, :-1], start[:, :1], start[:, -1:]], 1)
    found = solved(x, t, start, 0.0).weights
    a = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    best = torch.linalg.lstsq(a, t.double(), driver="gelsd").solution
    torch.testing.assert_close(a @ found.T, a @ best, rtol=1e-6, atol=1e-6)


def test_exact_targets_leave_exact_weights_alone() -> None:
    x, _, start = problem(60)
    t = (torch.cat([x, torch.ones(60, 1)], 1).double() @ start.T).float()
    torch.testing.assert_close(solved(x, t, start, 0.1).weights, start, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [5, 200])
def test_ridge_is_chosen_by_held_out_error(rows: int) -> None:
    """The error reported is that of the definition, and neither neighbour on the grid has a smaller one."""
    x, t, start = problem(rows, seed=2)
    held = torch.arange(rows) % 5 == 0
    result = solved(x, t, start, None, held=held)
    a = torch.cat([x, torch.ones(rows, 1)], 1).double()

    def error(ridge: float) -> float:
        scale = float(x.double().square().mean()) * rows
        eye = ridge * scale * torch.eye(7, dtype=torch.float64)
        train = a[~held]
        weights = torch.linalg.solve(train.T @ train + eye, train.T @ t[~held].double() + eye @ start.T)
        return float((a[held] @ weights - t[held]).square().sum() / t[held].double().square().sum())

    assert result.held_out_error == pytest.approx(error(result.ridge), rel=1e-6)
    place = GRID.index(result.ridge)
    for neighbour in GRID[max(place - 1, 0) : place + 2]:
        assert error(result.ridge) <= error(neighbour) + 1e-9


@pytest.mark.parametrize("rows", [5, 60])
def test_targets_may_be_merged_afterwards(rows: int) -> None:
    x, t, start = problem(rows, outputs=4)
    merge = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    held = torch.arange(rows) % 5 == 0
    late = regression_of(x, t)
    late.add(x, t, held)
    late.merge_targets(merge)
    early = regression_of(x, t[:, :3])
    early.add(x, t.double() @ merge.T, held)
    for ridge in (0.1, None):
        a, b = late.solve(start[:3], ridge), early.solve(start[:3], ridge)
        torch.testing.assert_close(a.weights, b.weights, rtol=1e-6, atol=1e-7)
        assert a.ridge == b.ridge


def test_projected_targets() -> None:
    x, t, _ = problem(60)
    regression = regression_of(x, t)
    regression.add(x, t, torch.zeros(60, dtype=torch.bool))
    total, projected = regression.target_moments()
    a = torch.cat([x, torch.ones(60, 1)], 1).double()
    fit = a @ torch.linalg.lstsq(a, t.double()).solution
    torch.testing.assert_close(total, t.double().T @ t.double())
    torch.testing.assert_close(projected, fit.T @ fit, rtol=1e-5, atol=1e-5)


def test_lambda_of_a_large_layer_is_chosen_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's lambda is all but as good as the one chosen on all rows, judged by the true weights."""
    from fusion_engine.solvers.least_squares import ridge

    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2000, 40, generator=generator)
    true = torch.randn(4, 41, generator=generator, dtype=torch.float64)
    start = true + torch.randn(true.shape, generator=generator, dtype=torch.float64) * 0.3
    t = (x.double() @ true[:, :-1].T + true[:, -1]).float() + 2 * torch.randn(2000, 4, generator=generator)
    held = torch.arange(2000) % 5 == 0
    full = solved(x, t, start, None, held=held)
    monkeypatch.setattr(ridge, "_LARGE", 39)
    sampled = solved(x, t, start, None, held=held)
    errors = [float((found.weights - true).square().sum()) for found in (full, sampled)]
    assert errors[1] < 1.5 * errors[0]
    torch.testing.assert_close(sampled.weights, solved(x, t, start, sampled.ridge, held=held).weights)
