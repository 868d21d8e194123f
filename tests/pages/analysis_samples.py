"""The result of an analysis, in the shape that docs/architecture.md gives, written by hand."""

from __future__ import annotations

from typing import Any

import samples

from fusion_engine import store
from fusion_engine.store.files import write_json


def path(*accuracy: float) -> dict[str, Any]:
    alphas = [i / (len(accuracy) - 1) for i in range(len(accuracy))]
    loss = [2 * (1 - a) for a in accuracy]
    middle = accuracy[len(accuracy) // 2]
    line = (accuracy[0] + accuracy[-1]) / 2
    return {
        "alphas": alphas, "loss": loss, "accuracy": list(accuracy), "barrier": max(0.0, 2 * (line - middle)),
        "error_barrier": max(0.0, line - middle),
    }


def paths(*accuracy: float) -> dict[str, Any]:
    part = {"loss": 0.8, "accuracy": 0.6, "barrier": 0.4, "error_barrier": 0.15}
    levels = [{"index": i, "name": f"fc{i}", "single": part, "cumulative": part} for i in (0, 1)]
    return {**path(*accuracy), "levels": levels}


def pair(first: str, second: str) -> dict[str, Any]:
    return {
        "first": first, "second": second, "recalibrated": False, "as_is": paths(0.8, 0.35, 0.7),
        "aligned": paths(0.8, 0.78, 0.7),
    }


def similar(name: str, parents: int) -> dict[str, Any]:
    matrix = [[1.0 if p == q else 0.5 for q in range(parents)] for p in range(parents)]
    measures = ["cka", "svcca", "cca", "distance_correlation"]
    measures += ["partial_distance_correlation"] if parents > 2 else []
    return {
        "name": name, "sizes": [6] * parents, "rows": 30, "samples": 30, "measures": dict.fromkeys(measures, matrix)
    }


def analysis(parents: int = 2, fused: bool = True) -> dict[str, Any]:
    names = [f"parent_{p}" for p in range(parents)]
    share = {"accuracy": 0.9, "loss": 0.3}
    found: dict[str, Any] = {
        "parents": names, "fused": fused, "what": ["coverage", "similarity", "connectivity"], "samples": 30,
        "classes": 3, "seed": 0, "levels": [{"index": i, "name": f"fc{i}"} for i in (0, 1)],
        "coverage": {
            "threshold": 0.5, "best": [0, 1, None], "only": [0, None, None], "unknown": [2], "fused": None,
            "parents": [
                {"name": n, "accuracy": 0.7, "per_class": [0.9, 0.6, None], "class_counts": [5, 6, 7] if p else None}
                for p, n in enumerate(names)
            ],
        },
        "similarity": {"spaces": [similar("fc0", parents), similar("fc1", parents)]},
        "connectivity": {"align": "balanced", "pairs": [pair("parent_0", other) for other in names[1:]]},
        "notes": ["class counts are not known for <b>parent_0</b>, so they are not used"], "seconds": {"total": 1.5},
    }  # fmt: skip
    if fused:
        found["what"].append("budget")
        found["coverage"]["fused"] = {
            "accuracy": 0.85, "per_class": [0.8, 0.9, None], "difference": [-0.1, 0.3, None], "kept": [0.9] * parents
        }
        found["connectivity"]["pairs"].append(pair("parent_0", "fused"))
        found["budget"] = {
            "head_weights": "importance", "ensemble": {"accuracy": 0.95, "loss": 0.2}, "fused": share,
            "levels": [
                {"index": 0, "name": "fc0", "grouped": {"accuracy": 0.93, "loss": 0.2}, "fused": {"accuracy": 0.91,
                 "loss": 0.2}, "grouping_loss": 0.02, "approximation_loss": 0.02},
                {"index": 1, "name": "fc1", "grouped": {"accuracy": 0.95, "loss": 0.2}, "fused": share,
                 "grouping_loss": 0.0, "approximation_loss": 0.05},
            ],
        }  # fmt: skip
    return found


def add_analysis(arguments: dict[str, Any], **changes: Any) -> str:
    run = samples.add_run("analyse", arguments)
    write_json(store.run_folder(run) / "result.json", analysis(**changes))
    return run
