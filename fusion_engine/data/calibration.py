"""Calibration data: sampling it, splitting it, and checking that it fits the parents."""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from ..core.capability import missing_labels, some_labels, without_samples
from ..core.errors import DataError
from ..core.seeds import numpy_generator
from .dataset import Dataset


def balanced_sample(data: Dataset, per_class: int, seed: int = 0, *, skip_empty: bool = False) -> np.ndarray:
    """Sorted indices of `per_class` samples of every class, drawn without replacement. Raises DataError naming the
    class that has too few samples; skip_empty: classes without any are left out."""
    if per_class < 1:
        raise DataError(f"at least one sample a class is needed, not {per_class}")
    labels = np.flatnonzero(data.counts) if skip_empty else np.arange(data.classes)
    short = labels[data.counts[labels] < per_class]
    if short.size:
        label = int(short[0])
        raise DataError(
            f"{data.name}: class {label} has {data.counts[label]} samples and {per_class} of each class were asked "
            "for; ask for fewer, or add samples"
        )
    return _per_class(data, dict.fromkeys(labels.tolist(), per_class), seed, "balanced sample")


def held_out(data: Dataset, fraction: float = 0.2, seed: int = 0) -> Tensor:
    """(N,) bool mask of the samples to hold out; stratified where there are labels. Both parts are non-empty. Raises
    DataError if the data has fewer than two samples or `fraction` is not inside (0, 1)."""
    if len(data) < 2 or not 0 < fraction < 1:
        raise DataError(f"{data.name}: cannot hold out {fraction:g} of {len(data)} samples")
    held = np.empty(0, dtype=np.int64)
    if data.is_classified:
        # Rounding the running total instead of every class's own share keeps the sum right for small classes.
        totals = np.rint(np.cumsum(data.counts) * fraction).astype(int)
        wanted = np.diff(totals, prepend=0).tolist()
        held = _per_class(data, dict(enumerate(wanted)), seed, "held out")
    if not 0 < len(held) < len(data):
        count = min(len(data) - 1, max(1, round(fraction * len(data))))
        held = numpy_generator(seed, "held out").permutation(len(data))[:count]
    mask = torch.zeros(len(data), dtype=torch.bool)
    mask[torch.from_numpy(held)] = True
    return mask


def canonical_order(data: Dataset) -> Dataset:
    """The same samples sorted by a hash of their contents, so that results do not depend on the order given."""
    labels = [bytes(8)] * len(data)
    if data.y is not None:
        whole = data.is_classified
        labels = [y.to_bytes(8, "big") for y in data.y.tolist()] if whole else [y.tobytes() for y in data.y.numpy()]
    rows = data.x.contiguous().numpy()
    keys = [
        hashlib.blake2b(row.tobytes(), digest_size=16).digest() + label
        for row, label in zip(rows, labels, strict=True)
    ]
    return data.subset(sorted(range(len(data)), key=keys.__getitem__))


def check_samples(data: Dataset, classes: int, input_shape: tuple[int, ...]) -> None:
    """Raise DataError unless the samples fit the parents' input and their labels, if any, the parents' classes. A
    one-dimensional `input_shape` (a flattened input) accepts any sample with that many values."""
    given = data.input_shape
    fits = math.prod(given) == input_shape[0] if len(input_shape) == 1 else given == input_shape
    if not fits:
        raise DataError(f"{data.name}: the parents take samples of shape {input_shape}, and these have {given}")
    # One output is two classes; labels of positions and values are judged with the outputs (fusion_engine.tasks).
    if data.is_classified and data.classes > max(classes, 2 if classes == 1 else 0):
        raise DataError(f"{data.name}: the labels go up to {data.classes - 1}, but the parents know {classes} classes")


def check_training(data: Dataset, classes: int, input_shape: tuple[int, ...]) -> None:
    """`check_samples`, and DataError unless there are labels, and samples of every class to learn from."""
    check_samples(data, classes, input_shape)
    if data.y is None:
        raise DataError(f"{data.name}: there are no labels, and this needs them (add an array y)")
    missing = missing_classes(data, classes)
    if missing:
        raise DataError(f"{data.name}: no samples of class {some_labels(missing)}; training needs every class")


def missing_classes(data: Dataset, classes: int) -> list[int]:
    """Those of the parents' `classes` that no sample has as its label; none without labels."""
    if not data.is_classified or classes < 2:
        return []
    return missing_labels(data.counts.tolist(), classes)


def missing_note(data: Dataset, classes: int) -> str:
    """What labelled calibration samples that lack classes cannot tell, as a line for a report; '' where none lacks."""
    missing = missing_classes(data, classes)
    return f"{data.name}: {without_samples(missing)}" if missing else ""


def _per_class(data: Dataset, wanted: dict[int, int], seed: int, purpose: str) -> np.ndarray:
    assert data.y is not None  # callers read data.counts first
    generator = numpy_generator(seed, purpose)
    y = data.y.numpy()
    parts = [generator.permutation(np.flatnonzero(y == label))[:count] for label, count in wanted.items()]
    return np.sort(np.concatenate(parts)).astype(np.int64)
