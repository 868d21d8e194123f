"""The shapes of a leaderboard's rows and table, as JSON holds them (rows.jsonl, leaderboard.json, --report)."""

from typing import Any, NotRequired, TypedDict


class FusionRow(TypedDict, total=False):
    """One fusion. The figures are there where `state` is done; `reason` says why it is failed or unavailable.

    One row more has key and kind 'references': {"references": [{"name", "accuracy", "loss", "per_class", "file"}],
    "parents": [{"file", "accuracy", "loss"}], "inputs": digest}."""

    key: str  # digest of recipe, seed and inputs: an earlier run's row of this key is taken over
    kind: str  # 'fusion'
    preset: str
    title: str
    importance: str
    own: bool  # the importance is the preset's own
    seed: int | None  # None where it cannot run
    recipe: dict[str, Any]  # all defaults filled in
    state: str  # done, failed or unavailable
    reason: str
    metric: str  # accuracy, or r2 or perplexity of other tasks, which are beside it then
    accuracy: float | None
    loss: float
    per_class: list[float | None]
    seconds: dict[str, float]  # as in the fusion's report
    cost: float  # what the fusion takes by itself: total and shared seconds
    shared: list[dict[str, Any]]
    peak_memory_mb: float  # of the process during this fusion
    parameters: int
    warnings: list[str]
    ended: float


class Spread(TypedDict):
    mean: float
    std: float
    min: float
    max: float


class Entry(TypedDict):
    """All seeds of one preset and importance."""

    preset: str
    title: str
    label: str
    importance: str
    own: bool
    state: str  # done, partial, waiting, failed or unavailable
    reason: str
    seeds: list[int]  # that are done
    planned: int
    metric: str  # what networks are compared by: accuracy, or r2 or perplexity of other tasks
    score: Spread | None  # of the metric
    accuracy: Spread | None
    loss: Spread | None
    seconds: float | None  # median of what a fusion takes by itself
    spent: float | None  # median of what was spent where others had computed parts of it
    peak_memory_mb: float | None  # the most
    pareto: bool
    recipe: dict[str, Any]
    keys: list[str]


class Table(TypedDict):
    """entries: the best by their metric first, then those under way, then those that failed or cannot run. pays:
    whether fusing does, in a sentence; '' while that is not known; tables of earlier versions do not say."""

    entries: list[Entry]
    pays: NotRequired[str]
    references: list[dict[str, Any]]
    parents: list[dict[str, Any]]
    done: int
    total: int
