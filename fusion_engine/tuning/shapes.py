"""The shapes of a search's trials and table, as JSON holds them (search.json, --report)."""

from typing import Any, TypedDict


class Measured(TypedDict):
    """Figures of one trial's network on some samples. others: r2 or perplexity, of such tasks."""

    accuracy: float | None
    loss: float
    others: dict[str, float]


class Trial(TypedDict):
    """One fusion of a search. The first has the recipe as it was given.

    settings: by path what it has in place of the recipe's. loss: on the held-out samples, what the search minimises.
    test: beside it, and no part of the search; None without test data. same_as: an earlier trial of the same settings,
    whose figures these are. reason: why it failed.
    """

    number: int
    state: str  # done or failed
    settings: dict[str, Any]
    loss: float | None
    held_out: Measured | None
    test: Measured | None
    metric: str
    seconds: float
    same_as: int | None
    reason: str
    ended: float


class SearchTable(TypedDict):
    """search.json. best: number of the trial with the smallest held-out loss. best_recipe: with that trial's settings,
    all defaults filled in. budget: {"trials", "seconds"}. spent: seconds of all trials. samples:
    {"fitted", "held_out", "test"}. notes: what is to be known of the figures."""

    recipe: dict[str, Any]
    dimensions: list[dict[str, Any]]
    trials: list[Trial]
    best: int | None
    best_recipe: dict[str, Any] | None
    budget: dict[str, Any]
    spent: float
    samples: dict[str, int]
    seed: int
    metric: str
    notes: list[str]
