"""Reading a fuse run's report: its models in the order in which the app shows them, its stages, its summary."""

from dataclasses import dataclass
from typing import Any

from fusion_engine.store.described.beside import interval, measured_on

from ..shared.text import distinct, percent

STAGES = ("load", "trace", "verify", "importance", "grouping", "solve", "post", "evaluate")
_REFERENCES = (
    ("average", "Plain average", "average"),
    ("ensemble", "Ensemble, logits", "ensemble"),
    ("softmax_ensemble", "Ensemble, softmax", "ensemble"),
    ("head_weighted_ensemble", "Ensemble, by head", "ensemble"),
)


@dataclass(frozen=True)
class Model:
    """One model of a report. role: 'parent', 'average', 'ensemble' or 'fused'; accuracies in [0, 1]. interval: of 95 %,
    by Wilson; None where the number of samples is not known. class_counts: samples of each class."""

    label: str
    role: str
    accuracy: float | None
    loss: float | None
    per_class: list[float | None] | None
    r2: float | None = None
    perplexity: float | None = None
    interval: tuple[float, float] | None = None
    class_counts: list[int] | None = None

    @property
    def class_intervals(self) -> list[tuple[float, float] | None]:
        """Of each class's accuracy."""
        pairs = zip(self.per_class or [], self.class_counts or [], strict=False)
        return [interval(accuracy, samples) for accuracy, samples in pairs]


def models(report: dict[str, Any], fused: str = "Fused") -> list[Model]:
    """Parents, plain average, ensembles, then the fused model under the name `fused`; none without test data."""
    if "fused" not in report:
        return []
    names = distinct(parent["file"].removesuffix(".safetensors") for parent in report["parents"])
    samples = measured_on(report)
    found = [_model(name, "parent", entry, samples) for name, entry in zip(names, report["parents"], strict=True)]
    found += [_model(label, role, report[key], samples) for key, label, role in _REFERENCES if report.get(key)]
    return [*found, _model(fused, "fused", report["fused"], samples)]


def _model(label: str, role: str, entry: dict[str, Any], samples: int | None) -> Model:
    accuracy = entry.get("accuracy")
    counts = [sum(row) for row in entry.get("confusion") or ()] if samples else None
    return Model(
        label, role, accuracy, entry.get("loss"), entry.get("per_class"), entry.get("r2"), entry.get("perplexity"),
        interval(accuracy, samples), counts or None,
    )


METRICS = {"accuracy": "Accuracy", "r2": "R²", "perplexity": "Perplexity"}
"""By what a report's networks are compared, and how that is called."""


def metric_of(report: dict[str, Any]) -> str:
    """By what the networks of a report are compared: accuracy, r2 or perplexity."""
    return str((report.get("task") or {}).get("metric", "accuracy"))


def score_text(value: float | None, metric: str, digits: int = 2) -> str:
    """A figure of that metric, as text."""
    if metric == "accuracy" or value is None:
        return percent(value, digits)
    return f"{value:.3f}" if metric == "r2" else f"{value:.2f}"


def interval_text(bounds: tuple[float, float] | None, digits: int = 1) -> str:
    """' (88.1–93.4)', to stand behind an accuracy; '' where it is not known."""
    return "" if bounds is None else f" ({100 * bounds[0]:.{digits}f}–{100 * bounds[1]:.{digits}f})"


def best_parent(report: dict[str, Any]) -> float | None:
    """The best parent's figure, by the report's metric; None without test labels."""
    better = min if metric_of(report) == "perplexity" else max
    return better(_scores(report), default=None)


def mean_parent(report: dict[str, Any]) -> float | None:
    """Mean figure of the parents, by the report's metric; None without test labels."""
    found = _scores(report)
    return sum(found) / len(found) if found else None


def _scores(report: dict[str, Any]) -> list[float]:
    metric = metric_of(report)
    return [p[metric] for p in report.get("parents", []) if p.get(metric) is not None]


def stage_seconds(report: dict[str, Any]) -> dict[str, float]:
    """What each stage takes by itself (`store.own_seconds`), in the order of the work; only those that take any."""
    taken = {stage: report.get("seconds", {}).get(stage, 0.0) for stage in STAGES}
    for part in report.get("shared", []):
        taken[part["stage"]] += part["seconds"]
    return {stage: seconds for stage, seconds in taken.items() if seconds}
