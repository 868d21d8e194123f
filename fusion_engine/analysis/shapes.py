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


class TensorDifference(TypedDict):
    """name: as the program calls it; file: as the first and the second network's files do. shapes: of both. counted:
    whether its layer's difference counts it, which statistics of norms and counters are not. The others as in
    `Difference`; None where the shapes differ."""

    name: str
    file: list[str]
    shapes: list[list[int]]
    counted: bool
    as_is: float | None
    aligned: float | None


class LayerDifference(TypedDict):
    """name: of the module. level: index of the level that first uses it, or None."""

    name: str
    level: int | None
    as_is: float | None
    aligned: float | None
    tensors: list[TensorDifference]


class SpaceDifference(TypedDict):
    """cka: of both networks' features. unrelated: what CKA would be of features that have nothing in common, being as
    many, of as many rows, and of one variance. moved: share of the neurons that alignment moved; None without. level:
    where it is made."""

    name: str
    level: int | None
    sizes: list[int]
    rows: int
    cka: float
    unrelated: float
    moved: float | None


class LevelDifference(TypedDict):
    """layers: those first used here. cka: the least of the spaces made here, None without any."""

    index: int
    name: str
    as_is: float | None
    aligned: float | None
    cka: float | None


class Difference(TypedDict):
    """How two networks differ. as_is, aligned: ||A - B|| / sqrt(||A||^2 + ||B||^2) of weights A and B, as they are and
    with the second's neurons brought into the first's order: 0 the same, 1 as far apart as weights that have nothing in
    common, 1.41 opposite; None where it cannot be told. align: the grouping that paired neurons, '' where none did.
    agreement: share of the samples (or positions) that both say the same class of; None without samples, and of values.
    same: whether all weights are the same. seconds: a part, and total."""

    networks: list[str]
    same: bool
    align: str
    samples: int
    layers: list[LayerDifference]
    levels: list[LevelDifference]
    spaces: list[SpaceDifference]
    as_is: float | None
    aligned: float | None
    agreement: float | None
    notes: list[str]
    seconds: float
