"""Points of wide spaces: exact while rows are few; a projection within what is stated beyond."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.stats import points
from fusion_engine.stats.points import PointAccumulator, standard_error


def features(rows: int, width: int = 60, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 8, generator=generator) @ torch.randn(8, width, generator=generator) + 2


def test_few_rows_are_kept_as_they_are() -> None:
    first, second = features(20), features(10, seed=1)
    gathered = PointAccumulator("s", 60, 30)
    gathered.update(0, False, first[:13])
    gathered.update(0, True, first[13:])
    gathered.update(1, False, second)
    found, mean, count, held_mean, held_count = gathered.result()
    a, b = first.double().numpy(), second.double().numpy()
    gram = a.T @ a + 2 * b.T @ b  # as if there were 20 rows at both places
    np.testing.assert_allclose(found.at.astype(np.float64) @ found.at.T, gram, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(mean, (a.mean(0) + b.mean(0)) / 2)
    assert (count, held_count, found.held, found.error) == (40, 7, 7, None)
    np.testing.assert_allclose(held_mean, a[13:].mean(0) / 2)
    np.testing.assert_allclose(found.unit @ found.unit, count)
    np.testing.assert_allclose(found.at @ found.unit, count * mean, rtol=1e-5)


def test_a_projection_keeps_distances_to_the_stated_error() -> None:
    rows = features(3000)
    gathered = PointAccumulator("s", 60, 3000)
    for part in rows.split(700):
        gathered.update(0, False, part)
    found, mean, count, *_ = gathered.result()
    assert found.at.shape == (60, points.DIMENSIONS)
    gaps = rows.double().numpy()[:, :, None] - rows.double().numpy()[:, None, :]
    exact = np.square(gaps).sum(0)
    seen = np.square(found.at[:, None].astype(np.float64) - found.at[None]).sum(2)
    apart = exact > 0
    errors = seen[apart] / exact[apart] - 1
    assert np.sqrt(np.mean(errors**2)) < 1.3 * standard_error()
    assert found.error is not None
    assert found.error[0] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.5)
    np.testing.assert_allclose(mean, rows.double().mean(0), rtol=1e-6)
    assert count == 3000
    centred = found.at - np.outer(mean, found.unit)  # covariances are as exact, whatever the mean
    variance = np.square(centred).sum(1) / count
    np.testing.assert_allclose(variance, rows.double().var(0, unbiased=False), rtol=5 * standard_error())


def test_a_projection_does_not_depend_on_the_batches() -> None:
    rows, found = features(3000), []
    for size in (3000, 64, 777):
        gathered = PointAccumulator("s", 60, 3000)
        for part in rows.split(size):
            gathered.update(0, False, part)
        found.append(gathered.result()[0].at)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3 * np.abs(found[0]).max())
    np.testing.assert_allclose(found[2], found[0], atol=1e-3 * np.abs(found[0]).max())


def test_copies_stay_copies() -> None:
    rows = features(2000)
    rows[:, 7] = rows[:, 3]
    gathered = PointAccumulator("s", 60, 2000)
    gathered.update(0, False, rows)
    at = gathered.result()[0].at
    np.testing.assert_allclose(at[7], at[3], atol=1e-4)


def test_signs_of_places_and_parts_are_their_own() -> None:
    rows = torch.ones(1500, 3)
    gathered = PointAccumulator("s", 3, 3000)
    gathered.update(0, False, rows)
    gathered.update(1, False, -rows)
    found = gathered.result()[0]  # with the same signs the places would cancel
    assert np.square(found.at).sum(1) == pytest.approx(3000, rel=0.3)
