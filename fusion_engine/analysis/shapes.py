"""The shape of an analysis's report, as JSON holds it (`analyse --report`, a job's result.json)."""

from typing import Any, TypedDict


class Analysis(TypedDict, total=False):
    """The last four are those that were made.

    coverage: threshold (a parent knows a class if it gets this share of its samples right), parents (name, accuracy,
    per_class, class_counts), by class best and only (indices of parents, or null), unknown (classes that none knows),
    fused (accuracy, per_class, difference to the best parent by class, kept by parent) or null. similarity: spaces, see
    `SpaceSimilarity.as_json`; "name@0", "name@1" are the places of a block space. connectivity: align, and pairs
    (first, second, and `Connectivity.as_json`). budget: head_weights, and `ErrorBudget.as_json`.
    """

    parents: list[str]
    fused: bool
    what: list[str]
    samples: int
    classes: int
    seed: int
    levels: list[dict[str, Any]]  # index, name
    notes: list[str]
    seconds: dict[str, float]  # a part, and total
    coverage: dict[str, Any]
    similarity: dict[str, Any]
    connectivity: dict[str, Any]
    budget: dict[str, Any]
