"""The shape of a fusion's report (report.json), as JSON holds it."""

from typing import Any, TypedDict


class Figures(TypedDict):
    """Accuracy in [0, 1] and mean cross entropy in nats; those of one network also have per_class and confusion.

    Of values to predict accuracy is null, loss the mean squared error, and there is r2; of next tokens there is
    perplexity, and no per_class."""

    accuracy: float | None
    loss: float


class Width(TypedDict):
    """relative: hidden neurons of the fused network over the first parent's, all spaces together. Others: weights."""

    relative: float
    parameters: int
    parents_parameters: list[int]


class EditedGroup(TypedDict):
    """A group that edits changed. before, after: its neurons, 'parent:index'. lost: share of the group's variance that
    merging loses; None where the space's features are not to be seen."""

    group: int
    before: list[str]
    after: list[str]
    lost_before: float | None
    lost_after: float | None


class EditedSpace(TypedDict):
    """done: in words. lost: share of the space's variance that merging loses. excluded: neurons in no group. free:
    groups without a neuron."""

    space: str
    done: str
    lost_before: float | None
    lost_after: float | None
    groups: list[EditedGroup]
    excluded: list[str]
    free: int


class Before(TypedDict):
    """The fusion that this one went on from. run: its id. accuracy: of its fused network, None where it had no test."""

    run: str
    accuracy: float | None


class Report(TypedDict, total=False):
    """The figures are there where test samples were given; the rest always is."""

    parents: list[dict[str, Any]]  # in their order: "file" and Figures
    best_parent: dict[str, Any]
    mean_parent: Figures
    average: Figures  # not for parents of different widths
    ensemble: Figures
    softmax_ensemble: Figures
    head_weighted_ensemble: Figures
    fused: Figures
    seconds: dict[str, float]  # by stage; total: from parents in memory to fused weights; shared: what others had spent
    shared: list[dict[str, Any]]  # parts that other fusions had computed: what, stage, the seconds it had taken
    peak_memory_mb: float
    recipe: dict[str, Any]
    spaces: list[dict[str, Any]]  # name, size, freedom, grouping, fallback (why it is not the recipe's, or '')
    levels: list[dict[str, Any]]  # name, layers, tensors
    decisions: dict[str, Any]  # what was chosen automatically and by what measure, by method
    warnings: list[str]
    task: dict[str, Any]  # name, metric (what networks are compared by), why; where labels or outputs tell
    calibration: dict[str, Any]  # samples, digest, labels
    test: dict[str, Any]  # name, samples, digest
    width: Width
    edits: list[EditedSpace]  # of recipes with edits
    before: Before  # of jobs that go on from a run
    versions: dict[str, str]
    seed: int
