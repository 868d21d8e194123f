"""How the named recipes did in the fusions that are in the store."""

from dataclasses import dataclass
from typing import Any

from fusion_engine.core.errors import StoreError

from .results import own_seconds, read_report
from .runs import list_runs


@dataclass(frozen=True)
class PastRuns:
    """Finished fusions with one named recipe, unchanged, of one parent set, measured on one data set.

    best, last: accuracies, the last being the newest run's. seconds: what the newest one takes by itself.
    """

    recipe: str
    parents: str
    test: str
    runs: int
    best: float
    last: float
    seconds: float


def past_runs(parents: str | None = None, test: str | None = None) -> list[PastRuns]:
    """All of them, newest first; only those of a parent set, or measured on a data set, where one is given.

    Reads small JSON files only. Runs that were not measured, or whose report is damaged, do not count.
    """
    found: dict[tuple[str, str, str], PastRuns] = {}
    for run in list_runs("fuse"):
        arguments = run["arguments"]
        key: tuple[Any, Any, Any] = arguments.get("recipe"), arguments.get("parents"), arguments.get("test")
        wanted = (parents is None or key[1] == parents) and (test is None or key[2] == test)
        if run["state"] != "done" or not wanted or not all(isinstance(part, str) for part in key):
            continue
        try:
            report = read_report(run["id"])
            accuracy, seconds = float(report["fused"]["accuracy"]), own_seconds(report)
        except (StoreError, KeyError, TypeError, ValueError):
            continue
        known = found.get(key)
        found[key] = (
            PastRuns(*key, 1, accuracy, accuracy, seconds)
            if known is None
            else PastRuns(*key, known.runs + 1, max(known.best, accuracy), known.last, known.seconds)
        )
    return list(found.values())
