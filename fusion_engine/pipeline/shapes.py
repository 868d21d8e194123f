"""The shape of a fusion's report (report.json), as JSON holds it."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = ["Report", "Width"]

class Figures(TypedDict):
    accuracy: float
    loss: float

class Reused(TypedDict):
    what: str
    stage: str
    seconds: float
# fallback: why the space has another grouping than the recipe's, or ''
class SpaceEntry(TypedDict):
    name: str
    size: int
    freedom: str
    grouping: str
    fallback: str
class LevelEntry(TypedDict):
    name: str
    layers: list[str]
    tensors: list[str]
# relative: hidden neurons of the fused network over the first parent's, all spaces together; the others: weights
class Width(TypedDict):
    relative: float
    parameters: int
    parents_parameters: list[int]
class Calibration(TypedDict):
    samples: int
    digest: str
    labels: bool


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
    shared: list[dict[str, Any]]  # reused parts: what, stage, and the seconds that computing it had taken
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
