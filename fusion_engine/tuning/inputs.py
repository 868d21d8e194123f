"""What the trials of a search are given: parents, the samples they are fused on, and those that judge them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from .. import __version__
from ..core.errors import DataError
from ..data import Dataset, canonical_order, check_samples, held_out
from ..parents import Parent, check_parents, settled
from ..stats import checked_device

SHARE = 0.25
"""Of the calibration samples, what is held out where no samples are given for that."""

_FEWEST = 20  # held-out samples, below which their loss says nothing of which recipe is better
_BLOCK = 512


@dataclass(frozen=True)
class SearchInputs:
    """fit: samples the fusions look at. held: labelled samples whose loss is minimised. test: labelled samples that are
    measured beside it. split: whether `held` was taken from the calibration samples. read: what was found while
    settling how the parents are to be read."""

    parents: Sequence[Parent]
    fit: Dataset
    held: Dataset
    test: Dataset | None = None
    device: str = "cpu"
    base: Parent | None = None
    split: bool = True
    read: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """sha256 of everything the results depend on, but for recipe and seed."""
        parts: list[Any] = [__version__, self.device, self.fit.digest, self.held.digest]
        parts += [None if other is None else other.digest for other in (self.test, self.base)]
        parts += [[str(p.architecture), p.digest, p.metadata.class_counts] for p in self.parents]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def search_inputs(
    parents: Sequence[Parent],
    data: Dataset,
    held: Dataset | float | None = None,
    *,
    test: Dataset | None = None,
    seed: int = 0,
    device: str = "cpu",
    base: Parent | None = None,
) -> SearchInputs:
    """held: labelled samples that judge the trials, or the share of `data` that is held out for it (a quarter), drawn
    by the seed, balanced over classes. Raises FusionError where there are no labels, too few samples, or samples
    of `held` that are in `data` or `test` as well."""
    checked_device(device)
    share = SHARE if held is None else held
    read: list[str] = []
    parents, lines = settled(parents, data)
    read += lines
    check_parents(parents)
    first = parents[0]
    judged = data if isinstance(share, float) else share
    check_samples(data, first.classes, first.input_shape)
    for given, what in ((judged, "held-out loss"), (test, "test accuracy")):
        if given is None:
            continue
        check_samples(given, first.classes, first.input_shape)
        if given.y is None and not given.tokens:
            raise DataError(f"{given.name}: there are no labels, and the {what} needs them (add an array y)")
    if not isinstance(share, float):
        for other, what in ((data, "calibration"), (test, "test")):
            if other is not None and (both := len(_rows(share) & _rows(other))):
                raise DataError(
                    f"{share.name}: {both:,} of the held-out samples are {what} samples too ({other.name}); "
                    "samples that judge the trials must be others"
                )
    if isinstance(share, float):
        data = canonical_order(data)  # the same samples are held out, in whatever order they come
        mask = held_out(data, share, seed)
        data, judged = data.subset((~mask).nonzero().flatten()), data.subset(mask.nonzero().flatten())
    if len(judged) < _FEWEST:
        raise DataError(
            f"{judged.name}: {len(judged)} held-out samples are too few to tell recipes apart; give more calibration "
            f"samples, or at least {_FEWEST} by themselves"
        )
    if isinstance(share, float) and test is not None and (both := len(_rows(judged) & _rows(test))):
        read.append(f"{both:,} of the test samples are among those held out, so the test figures are not independent")
    return SearchInputs(parents, data, judged, test, device, base, isinstance(share, float), tuple(read))


def _rows(data: Dataset) -> set[bytes]:
    """A hash of every sample's values, whatever type they are kept as."""
    found = set()
    for start in range(0, len(data), _BLOCK):
        x = data.x[start : start + _BLOCK]
        rows = (x.float() / 255 if x.dtype == torch.uint8 else x).contiguous().numpy()
        found |= {hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows}
    return found
