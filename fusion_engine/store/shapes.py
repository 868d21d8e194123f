"""The JSON that the store keeps and hands out. Times are seconds since the epoch."""

from typing import Any, Literal, NotRequired, TypedDict

State = Literal["queued", "running", "done", "failed", "cancelled"]


class Job(TypedDict):
    """job.json, what was asked for; written first. owner: token of the service that took it. attempt: how often it was
    restarted."""

    id: str
    kind: str
    arguments: dict[str, Any]
    created: float
    owner: str | None
    attempt: NotRequired[int]


class Status(TypedDict):
    """status.json while a run goes on, end-<attempt>.json once it has ended. error: one line."""

    state: State
    error: str | None
    started: float | None
    ended: float | None


class Run(Job, Status):
    """An entry of `list_runs`."""


class About(TypedDict):
    """about.json of a run, what users say of it: a name and a note, '' where there is none, and tags. changed: when
    they last did."""

    name: str
    note: str
    tags: list[str]
    changed: float


class DescribedRun(Run):
    """An entry of `find_runs`. recipe: its name. names: of its parents, data and test data, '' where it has none."""

    about: About
    recipe: str
    names: dict[str, str]


class Event(TypedDict):
    """A line of events.jsonl. fraction: of the whole run, never falling. detail: facts for who draws them."""

    t: float
    stage: str
    fraction: float
    message: str
    detail: dict[str, Any]


class TensorSummary(TypedDict):
    """name: as the program calls it. own: as the parent's file did, '' where it is not in it; sets of earlier versions
    do not say."""

    name: str
    own: NotRequired[str]
    shape: list[int]
    parameters: int


class ParentSummary(TypedDict):
    """One of a set. file: in the set's folder. layers: all its tensors. training: how it was trained, if told."""

    name: str
    file: str
    architecture: str
    digest: str
    parameters: int
    class_counts: list[int] | None
    training: dict[str, Any]
    layers: list[TensorSummary]


class ParentsSummary(TypedDict):
    """summary.json of a parent set; a set of one is a base model."""

    id: str
    name: str
    architecture: str
    classes: int
    input_shape: list[int]
    created: float
    parents: list[ParentSummary]
    warnings: list[str]


class DataSummary(TypedDict):
    """summary.json of a data set. shape: of one sample. counts: by class, if every sample has
    one. mean, std: by channel."""

    id: str
    name: str
    samples: int
    shape: list[int]
    dtype: str
    classes: int
    counts: list[int] | None
    labelled: bool
    mean: list[float] | None
    std: list[float] | None
    created: float


Severity = Literal["good", "fair", "poor"]


class WorstGroup(TypedDict):
    """share: of the space's importance. lost: share of the group's variance."""

    group: int
    share: float
    lost: float


class WorstNeuron(TypedDict):
    """neuron: parent's number and index, '0:17'. share: of the space's importance. lost: share of its own variance."""

    neuron: str
    share: float
    lost: float


class Verdict(TypedDict):
    """How good the grouping of a space is; severity as exploration/verdict.py says. Numbers of groups: in all; mixed:
    of two parents or more; several: two neurons or more of one parent, with others or not; one_parent: of one parent
    only; single: of one neuron; empty. cost: sum over groups of share x lost. concentration: share of
    importance that the most important tenth of the neurons holds. first: the most important group.
    worst_*: up to five, by share x lost, largest first. sentence: plain text."""

    groups: int
    mixed: int
    several: int
    one_parent: int
    single: int
    empty: int
    cost: float
    concentration: float
    first: WorstGroup | None
    worst_groups: list[WorstGroup]
    worst_neurons: list[WorstNeuron]
    severity: Severity
    sentence: str


class NetworkVerdict(TypedDict):
    """severity: of the worst space. worst: names of all spaces, the worst first. sentence: plain text."""

    severity: Severity
    worst: list[str]
    sentence: str


class ExploredSpace(TypedDict):
    """A space in explore.json. index: prefix of its arrays in explore.npz and features.npz. size: fused; sizes: one a
    parent. kind, weight, shape: of the layer that makes it. variance: share of the first 3 principal components. hard:
    whether its grouping has labels. error: share of the neurons' variance that the grouping loses. edits_refused: why
    its groups cannot be edited, or ''.

    explore.npz, T neurons of K parents, parent after parent, in n groups: parent, neuron (T,) int64; importance (T,);
    group (T,) int64, -1 none, in soft groupings the one with the largest weight; lost (T,): share of the neuron's own
    variance lost by merging; pca (T, 3) float32, zero-padded; mean, std (T,) of the pre-activation over samples and
    positions; neighbours, correlation (T, 15): the most similar
    neurons, best first (index into T, -1 padding), and how similar; group_members (n, K): neurons of each parent in it;
    group_importance (n,): sum; group_error (n,): share of the group's variance lost by merging.
    features.npz: coordinates (T, c <= 64) float32, principal coordinates, which the job embed reads; covariance (T, T)
    float64, beyond 1,024 neurons float32, beyond 4,096 not kept; of hard groupings shares (T,) float64, of each neuron
    in its group's fused neuron, weights (T,) float64, what each counts wherever it goes, and pins (T,) bool, those that
    their groups follow alone.
    """

    index: int
    name: str
    level: int | None
    size: int
    sizes: list[int]
    freedom: str
    block: int
    kind: str | None
    weight: str | None
    shape: list[int] | None
    variance: list[float]
    hard: bool
    error: float
    edits_refused: NotRequired[str]  # runs of earlier versions have none
    verdict: NotRequired[Verdict]  # runs of earlier versions have none


class ExploredLevel(TypedDict):
    """A level of a network. tensors: names of the parameters it uses. output_shape: without the batch, if known."""

    index: int
    name: str
    layers: list[str]
    tensors: list[str]
    output_shape: list[int] | None
    spaces: NotRequired[list[str]]


class Exploration(TypedDict):
    """explore.json of explore and fuse runs; in the latter the groupings are the recipe's own. parents: names.
    importance, grouping: {"method", parameters}."""

    parents: list[str]
    classes: int
    samples: int
    seed: int
    labelled: bool
    importance: dict[str, Any]
    grouping: dict[str, Any]
    spaces: list[ExploredSpace]
    levels: list[ExploredLevel]
    warnings: list[str]
    seconds: float
    verdict: NotRequired[NetworkVerdict]


class Label(TypedDict):
    """A name that a user gave to neurons of a space. neurons: parent's number and index, '0:17'."""

    name: str
    neurons: list[str]
