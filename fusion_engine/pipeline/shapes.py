"""The shape of a fusion's report (report.json), as JSON holds it."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = ["Report", "Width"]

Figures = TypedDict("Figures", {"accuracy": float, "loss": float})
# seconds: what computing it had taken
Reused = TypedDict("Reused", {"what": str, "stage": str, "seconds": float})
# fallback: why the space has another grouping than the recipe's, or ''
SpaceEntry = TypedDict("SpaceEntry", {"name": str, "size": int, "freedom": str, "grouping": str, "fallback": str})
LevelEntry = TypedDict("LevelEntry", {"name": str, "layers": list[str], "tensors": list[str]})
# relative: hidden neurons of the fused network over the first parent's, all spaces together; the others: weights
Width = TypedDict("Width", {"relative": float, "parameters": int, "parents_parameters": list[int]})
Calibration = TypedDict("Calibration", {"samples": int, "digest": str, "labels": bool})


class Report(TypedDict, total=False):
    """The figures on test samples are there where test samples were given; the rest always is."""

    parents: list[dict[str, Any]]  # in their order: {"file"} and `Figures`, per_class, confusion
    best_parent: dict[str, Any]
    mean_parent: Figures
    average: Figures  # not for parents of different widths
    ensemble: Figures
    softmax_ensemble: Figures
    head_weighted_ensemble: Figures
    fused: Figures
    seconds: dict[str, float]  # by stage; total: from parents in memory to fused weights; shared: what others had spent
    shared: list[Reused]
    peak_memory_mb: float
    recipe: dict[str, Any]
    spaces: list[SpaceEntry]
    levels: list[LevelEntry]
    decisions: dict[str, Any]  # what was chosen automatically and by what measure, by method
    warnings: list[str]
    calibration: Calibration
    width: Width
    versions: dict[str, str]
    seed: int
