"""How long a job will take, from what such jobs have taken. Nothing is guessed: where there are none, no number."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from fusion_engine.core.errors import StoreError

from .runs import list_runs
from .sets import read_parents_summary

_NEWEST = 5


@dataclass(frozen=True)
class Expected:
    """seconds: median time from the start to the end of past jobs. runs: how many those are. same: they worked on the
    same parents; otherwise on others of as many weights."""

    seconds: float
    runs: int
    same: bool


def expected(kind: str, arguments: Mapping[str, Any]) -> Expected | None:
    """What a job of these arguments takes, from the newest jobs of its kind that differ from it by their seed at most,
    or, where there are none, by parents of the same sizes and their data too. None where there are none either.

    Reads small JSON files only.
    """
    wanted = {name: value for name, value in arguments.items() if value is not None}
    done = [
        (run["arguments"], run["ended"] - run["started"]) for run in list_runs(kind)
        if run["state"] == "done" and run["started"] and run["ended"]
    ]
    for same, apart in ((True, {"seed"}), (False, {"seed", "parents", "data", "test"})):
        taken = [
            seconds for other, seconds in done
            if _without(other, apart) == _without(wanted, apart) and (same or _weights(other) == _weights(wanted) != [])
        ]
        if taken:
            return Expected(median(taken[:_NEWEST]), len(taken[:_NEWEST]), same)
    return None


def _without(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in names and value is not None}


def _weights(arguments: Mapping[str, Any]) -> list[int]:
    """Numbers of weights of a job's parents; none where they are not in the store."""
    try:
        return [parent["parameters"] for parent in read_parents_summary(arguments["parents"])["parents"]]
    except (StoreError, KeyError):
        return []
