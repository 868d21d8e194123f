"""Signs that a parent is read wrongly, or that samples are not what the parents were trained on."""

from collections.abc import Sequence
from typing import Final

import torch
from scipy.stats import binom
from torch import Tensor

from ..data import Dataset
from ..graph.captured.capture import eval_mode
from ..parents import Parent

_ALPHA: Final = 1e-3  # probability at which guessing would do as well
_LEAST, _MOST = 20, 1000  # samples below which nothing is said, and that are looked at
_MEAN, _STD = 1.0, 2.0  # standard deviations between means, ratio of spreads, from which on data differs
_RANGE: Final = 8.0  # ratio of largest values from which on units differ


def is_chance(hits: int, labels: Tensor, classes: int) -> bool:
    """Whether guessing, or always naming the commonest class, would be right `hits` times as easily: a one-sided
    binomial test at 0.1 %. labels: (samples,) int64."""
    n = len(labels)
    chance = max(1 / max(classes, 1), float(torch.bincount(labels).max()) / n)
    return bool(binom.sf(hits - 1, n, min(chance, 1.0)) > _ALPHA)


def chance_notes(parents: Sequence[Parent], data: Dataset) -> list[str]:
    """A warning for every parent that does no better than chance on labelled samples of classes that it knows: up to
    1,000 of them. None without labels, or for parents that are known to have seen one class only."""
    if data.y is None or data.y.ndim != 1 or data.y.is_floating_point() or data.x.dtype == torch.int64:
        return []
    picked = torch.linspace(0, len(data) - 1, min(len(data), _MOST)).round().long()
    x, y = data.normalised(picked), data.y[picked]
    notes = []
    for parent in parents:
        if parent.classes < 2:
            continue
        counts = parent.metadata.class_counts
        seen = torch.ones(parent.classes, dtype=torch.bool) if counts is None else torch.tensor(counts) > 0
        rows = seen[y]
        if int(seen.sum()) < 2 or len(torch.unique(y[rows])) < 2:
            continue
        with torch.inference_mode(), eval_mode(parent.model):
            outputs = torch.cat([parent.model(part) for part in x[rows].split(256)])
        if outputs.ndim != 2 or outputs.shape[1] != parent.classes:
            continue
        hits, n = int((outputs.argmax(1) == y[rows]).sum()), int(rows.sum())
        if is_chance(hits, y[rows], parent.classes) and n >= _LEAST:
            notes.append(
                f"{parent.name} is right on {hits / n:.1%} of {n:,} samples of {data.name}, no better than chance: is "
                "it read with the wrong architecture or preprocessing, or are labels numbered otherwise?"
            )
    return notes


def unlike_notes(data: Dataset, test: Dataset | None) -> list[str]:
    """A warning where calibration and test samples, as networks get them, are in other units or are normalised
    otherwise: means of a channel that are a standard deviation apart, spreads of which one is twice the other."""
    if test is None or data.input_shape != test.input_shape or torch.int64 in (data.x.dtype, test.x.dtype):
        return []
    one, other = _channels(data), _channels(test)
    spread = torch.minimum(one[1], other[1]).clamp_min(1e-12)
    apart = float(((one[0] - other[0]).abs() / spread).max())
    ratio = float((torch.maximum(one[1], other[1]) / spread).max())
    if len(data) < _LEAST or (apart < _MEAN and ratio < _STD):
        return []
    units = ""
    top, low = max(one[2], other[2]), max(min(one[2], other[2]), 1e-12)
    if top / low >= _RANGE:
        units = f" (largest values {one[2]:.4g} and {other[2]:.4g}: other units?)"
    return [
        f"{data.name} and {test.name} differ as networks get them: means {_shown(one[0])} and {_shown(other[0])}, "
        f"spreads {_shown(one[1])} and {_shown(other[1])} by channel{units}; give both the parents' own normalisation"
    ]


def _channels(data: Dataset) -> tuple[Tensor, Tensor, float]:
    """Mean and standard deviation by channel (one of all for flat samples), and the largest absolute value."""
    picked = torch.linspace(0, len(data) - 1, min(len(data), _MOST)).round().long()
    x = data.normalised(picked).double()
    rows = x.movedim(1, 0).flatten(1) if x.ndim > 2 else x.reshape(1, -1)
    return rows.mean(1), rows.std(1), float(x.abs().max())


def _shown(values: Tensor) -> str:
    more = ", ..." if len(values) > 4 else ""
    return ", ".join(f"{value:.3g}" for value in values[:4].tolist()) + more
