"""Whether data suits the parents, from what the store knows of both: as a fusion would judge it, beforehand."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_engine import store
from fusion_engine.core.capability import missing_labels, without_samples

from ..shared.page_frame import existing
from ..shared.text import count
from .pickers import BUILT_IN, BUILT_IN_SHAPE

_BUILT_IN: dict[str, Any] = {"shape": BUILT_IN_SHAPE, "classes": 10, "labelled": True, "counts": [1] * 10}


def misfit(parents: Mapping[str, Any], data: str, *, test: bool = False) -> str:
    """Why a data set cannot be used with a set of parents, with the fix, as one line; '' where nothing speaks against
    it or it is not known. The rules are those of `fusion_engine.data.check_samples`; test data needs labels."""
    summary = _BUILT_IN if data in BUILT_IN else existing(store.read_data_summary, data) if data else None
    if summary is None:
        return ""
    name = "The test data" if test else "The calibration data"
    wanted, given = parents["input_shape"], list(summary["shape"])
    if wanted is not None and not (math.prod(given) == wanted[0] if len(wanted) == 1 else given == list(wanted)):
        return f"{name} has samples of {_shape(given)}; the parents take {_shape(wanted)}. Choose data of that shape."
    if not summary["labelled"]:
        return "The test data has no labels to measure against. Choose data with labels, or none." if test else ""
    knows = parents["classes"]
    if summary["counts"] is None or knows == 1:  # labels of positions, or values: the fusion tells
        return ""
    if summary["classes"] > knows:
        return (
            f"{name} has labels up to {summary['classes'] - 1}; the parents know {count(knows, 'class', 'classes')}, "
            f"0 to {knows - 1}. Choose data with those labels."
        )
    return ""


def lacking(parents: Mapping[str, Any], data: str) -> str:
    """Which classes labelled calibration data has no samples of, as one line; '' where it has all, or none has a label.
    In a fusion's own words (`fusion_engine.data.missing_note`)."""
    summary = existing(store.read_data_summary, data) if data and data not in BUILT_IN else None
    if summary is None or not summary["labelled"] or misfit(parents, data) or not summary["counts"]:
        return ""
    missing = missing_labels(summary["counts"], parents["classes"])
    return f"The calibration data has {without_samples(missing)}." if missing else ""


def misfits(parents: Mapping[str, Any], data: str, test: str) -> list[str]:
    """What speaks against the chosen calibration and test data."""
    return list(filter(None, [misfit(parents, data), misfit(parents, test, test=True)]))


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
