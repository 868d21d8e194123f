"""Neurons of wide spaces as points whose inner products are their second moments: no (N, N) matrix is formed.

With few rows the features themselves are the coordinates, and everything is exact. More rows are projected to
`DIMENSIONS` coordinates by random signs, S F with S S^T = I in the mean: squared distances ||f_i - f_j||^2 keep their
mean and have a standard error of at most sqrt(2 / DIMENSIONS) of their size (Johnson & Lindenstrauss 1984; Achlioptas
2003, "Database-friendly random projections"), 4.4 %. Copies of a neuron stay copies. Signs are drawn by the number of a
row, so they do not depend on how rows were cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..core.seeds import stream_seed
from ..core.types import Array

WIDE = 4096
"""Joint neurons of all parents, N, up to which a space's moments are its (N, N) Gram."""
FORMED = 8192
"""N up to which a method may have a wide space's Gram formed, and to which it is kept where rows are many: 512 MiB."""
DIMENSIONS = 1024
"""Rows that are kept as they are; more are projected to so many coordinates. A multiple of 256."""
_PAIRS = 256  # pairs of neurons whose distances are followed exactly, to measure the projection
_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Points:
    """at: (N, r) float32, one point a neuron, at @ at.T ~ gram. unit: (r,) float64, the point of a feature that is 1
    everywhere: unit @ unit ~ count. held: how many of the last coordinates are of held-out samples. error: root mean
    square and largest relative error of squared distances, measured on sampled pairs; None where points are exact."""

    at: np.ndarray
    unit: Array
    held: int = 0
    error: Array | None = None


def is_wide(width: int, rows: int) -> bool:
    """Whether a space of so many joint neurons and rows is held as points."""
    return width > WIDE and (rows <= DIMENSIONS or width > FORMED)


def standard_error(dimensions: int = DIMENSIONS) -> float:
    """Of a squared distance between projected points, relative to it: at most this."""
    return float(np.sqrt(2 / dimensions))


@dataclass
class _Place:
    """One place where a space is read, in one part of the samples."""

    count: int = 0
    rows: list[Tensor] = field(default_factory=list)
    sum: Tensor | None = None
    apart: Tensor | None = None


class PointAccumulator:
    """The features of a space as points, from rows (rows, width) of any number of places, in two parts: samples to fit
    and held-out ones.

    space: its name, by which signs are drawn. rows: how many will come in all; no more than `DIMENSIONS` are kept,
    others projected.
    """

    def __init__(self, space: str, width: int, rows: int) -> None:
        self._space, self._width, self._exact = space, width, rows <= DIMENSIONS
        self._places: dict[tuple[int, bool], _Place] = {}
        self._sketches: dict[tuple[int, bool], Tensor] = {}
        self._units: dict[tuple[int, bool], Tensor] = {}
        pairs = np.random.default_rng(stream_seed(0, "pairs", space)).integers(0, width, (2, _PAIRS))
        self._pairs = torch.from_numpy(pairs[:, pairs[0] != pairs[1]])

    def update(self, place: int, held: bool, rows: Tensor) -> None:
        """Add rows (rows, width) of place number `place`."""
        at = self._places.setdefault((place, held), _Place())
        rows = rows.detach()
        total = rows.sum(0, dtype=torch.float64).cpu()
        at.sum = total if at.sum is None else at.sum + total
        if self._exact:
            at.rows.append(rows.float().cpu())
            at.count += len(rows)
            return
        for chunk in rows.float().split(max(1, _CHUNK_BYTES // (4 * DIMENSIONS))):
            signs = torch.from_numpy(_signs(stream_seed(0, self._space, place, int(held)), at.count, len(chunk)))
            product, unit = (signs.to(chunk).T @ chunk).cpu(), signs.sum(0, dtype=torch.float64)
            gaps = (chunk[:, self._pairs[0]] - chunk[:, self._pairs[1]]).double().square().sum(0).cpu()
            key = place, held
            if key in self._sketches:
                self._sketches[key] += product
                self._units[key] += unit
                at.apart = gaps if at.apart is None else at.apart + gaps
            else:
                self._sketches[key], self._units[key], at.apart = product, unit, gaps
            at.count += len(chunk)

    def result(self) -> tuple[Points, Array, int, Array | None, int]:
        """Points, mean (width,) and number of rows, then mean and number of the held-out ones, None and 0 without.

        Places count as if all had as many rows, as `FeatureMoments` has it. What was gathered is let go of.
        """
        numbers = sorted({place for place, _ in self._places})
        own = {n: sum(at.count for (place, _), at in self._places.items() if place == n) for n in numbers}
        count, places = max(own.values()), len(numbers)
        mean, held_mean, held_count = np.zeros(self._width), np.zeros(self._width), 0
        parts: list[list[tuple[np.ndarray, Array]]] = [[], []]
        gaps: Tensor | None = None
        for (place, held), at in sorted(self._places.items()):
            assert at.sum is not None
            weight = float(np.sqrt(count / own[place]))
            mean += at.sum.numpy() / (own[place] * places)
            if held:
                held_mean += at.sum.numpy() / (at.count * places)
                held_count += round(at.count * count / own[place])
            if self._exact:
                kept = torch.cat(at.rows).numpy()
                at.rows.clear()
                parts[held].append((kept * np.float32(weight), np.full(len(kept), weight)))
            else:
                sketch, unit = self._sketches.pop((place, held)), self._units[place, held]
                sketch *= weight
                parts[held].append((sketch.numpy(), unit.numpy() * weight))
                assert at.apart is not None
                gaps = at.apart * weight**2 if gaps is None else gaps + at.apart * weight**2
        joined = [self._joined(own_parts) for own_parts in parts if own_parts]
        at_points = np.ascontiguousarray(np.concatenate([rows for rows, _ in joined]).T)
        units = np.concatenate([unit for _, unit in joined])
        held_coordinates = len(joined[-1][0]) if parts[True] else 0
        error = None if gaps is None else self._error(at_points, gaps.numpy())
        points = Points(at_points, units, held_coordinates, error)
        return points, mean, count * places, held_mean if held_count else None, held_count

    def _joined(self, parts: list[tuple[np.ndarray, Array]]) -> tuple[np.ndarray, Array]:
        """Coordinates (r, N) of several places: one after the other where they are rows, added where they are
        projections, as those of different places have signs of their own."""
        if self._exact:
            return np.concatenate([rows for rows, _ in parts]), np.concatenate([unit for _, unit in parts])
        (rows, unit), *others = parts
        for more, more_unit in others:
            rows += more
            unit = unit + more_unit
        return rows, unit

    def _error(self, points: np.ndarray, exact: Array) -> Array:
        first, second = self._pairs.numpy()
        found = np.square(points[first].astype(np.float64) - points[second]).sum(1)
        apart = exact > 0
        off = found[apart] / exact[apart] - 1
        return np.array([np.sqrt(np.mean(off**2)), np.abs(off).max()]) if len(off) else np.zeros(2)


def _signs(key: int, first: int, rows: int) -> np.ndarray:
    """(rows, DIMENSIONS) float32 random signs over sqrt(DIMENSIONS), those of row `first` and after it."""
    words = DIMENSIONS // 64
    generator = np.random.Philox(key=key, counter=first * words // 4)
    bits = np.unpackbits(generator.random_raw(rows * words).view(np.uint8)).reshape(rows, DIMENSIONS)
    signs: np.ndarray = (bits * np.float32(2) - np.float32(1)) / np.float32(np.sqrt(DIMENSIONS))
    return signs
