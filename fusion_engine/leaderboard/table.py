"""The table of a leaderboard from the rows there are so far: means, spreads and who is on the Pareto front. Pure."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.types import merit
from .rows import REFERENCES, label
from .shapes import Entry, Spread, Table


def standings(plan: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Table:
    """The table of `rows` (any part of the plan's, in any order).

    An entry is one preset and importance; its spread is over the seeds (std: of the sample, 0 for one seed).
    """
    found = {row["key"]: row for row in rows}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for planned in plan:
        groups.setdefault(json.dumps(planned["recipe"], sort_keys=True), []).append(planned)
    entries = [_entry(planned, [found[p["key"]] for p in planned if p["key"] in found]) for planned in groups.values()]
    points = [(e["seconds"] or 0.0, merit(e["metric"], e["score"]["mean"])) if e["score"] else None for e in entries]
    for entry, on in zip(entries, pareto(points), strict=True):
        entry["pareto"] = on
    entries.sort(key=_rank)
    shown = found.get(REFERENCES, {})
    keys = {REFERENCES, *(planned["key"] for planned in plan)}
    references = list(shown.get("references", []))
    return {
        "entries": entries,
        "pays": pays(entries, references),
        "references": references,
        "parents": list(shown.get("parents", [])),
        "done": len(keys & set(found)),
        "total": len(keys),
    }


DISTILLED = "distilled_best_parent"
"""The recipe that fuses nothing: the best parent, trained towards the ensemble as long as a fused network would be."""


def pays(entries: Sequence[Entry], references: Sequence[Mapping[str, Any]]) -> str:
    """Whether fusing pays, in a sentence: the best fusion beside what needs none, the best parent as it is and with the
    ensemble distilled into it. '' before there is a fusion and one of those."""
    measured = [entry for entry in entries if entry["score"] is not None]
    fused = next((entry for entry in measured if entry["preset"] != DISTILLED), None)
    if fused is None or fused["score"] is None:
        return ""
    metric = fused["metric"]
    others = [("the ensemble distilled into the best parent", e["score"]["mean"]) for e in measured
              if e["preset"] == DISTILLED and e["score"] is not None]  # fmt: skip
    others += [("the best parent", r[metric]) for r in references if r["name"] == "best_parent" and metric in r]
    others = [(name, value) for name, value in others if value is not None]
    if not others:
        return ""
    name, value = max(others, key=lambda other: merit(metric, other[1]))
    best = fused["score"]["mean"]
    told = f"{fused['label']} has {_shown(best, metric)}, {name} {_shown(value, metric)}"
    if merit(metric, best) > merit(metric, value):
        return f"Fusing pays here: {told}."
    return f"Fusing does not pay here: {told}."


def _shown(value: float, metric: str) -> str:
    return f"{100 * value:.1f} %" if metric == "accuracy" else f"{metric} {value:.4g}"


def pareto(points: Sequence[tuple[float, float] | None]) -> list[bool]:
    """Which (cost, value) points no other one beats: at most its cost and at least its value, one of them strictly."""

    def beaten(cost: float, value: float) -> bool:
        known = [p for p in points if p is not None]
        return any(c <= cost and v >= value and (c < cost or v > value) for c, v in known)

    return [point is not None and not beaten(*point) for point in points]


def _entry(planned: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Entry:
    first = planned[0]
    good = [row for row in rows if row["state"] == "done"]
    metric = next((row.get("metric", "accuracy") for row in good), "accuracy")
    bad = [row for row in rows if row["state"] in ("failed", "unavailable")]
    if good:
        state = "done" if len(rows) == len(planned) else "partial"
    else:
        state = bad[0]["state"] if len(rows) == len(planned) else "waiting"
    return {
        "preset": first["preset"],
        "title": first["title"],
        "label": label(first),
        "importance": first["importance"],
        "own": first["own"],
        "state": state,
        "reason": next((row["reason"] for row in bad), first["reason"]),
        "seeds": sorted(row["seed"] for row in good),
        "planned": len(planned),
        "metric": metric,
        "score": _spread([row[metric] for row in good]),
        "accuracy": _spread([row["accuracy"] for row in good if row["accuracy"] is not None]),
        "loss": _spread([row["loss"] for row in good]),
        "seconds": statistics.median(row["cost"] for row in good) if good else None,
        "spent": statistics.median(row["seconds"]["total"] for row in good) if good else None,
        "peak_memory_mb": max((row["peak_memory_mb"] for row in good), default=None),
        "pareto": False,
        "recipe": first["recipe"],
        "keys": [row["key"] for row in good],
    }


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "min": min(values), "max": max(values)}


_ORDER = ("done", "partial", "waiting", "failed", "unavailable")


def _rank(entry: Entry) -> tuple[bool, float, int]:
    """Measured ones by their metric, then the rest by state; ties keep the plan's order."""
    score = entry["score"]
    better = merit(entry["metric"], score["mean"]) if score else 0.0
    return score is None, -better, _ORDER.index(entry["state"])
