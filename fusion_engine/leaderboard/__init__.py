"""Every preset on the same parents and data: accuracy, time and memory on equal terms.

    from fusion_engine.leaderboard import leaderboard
    found = leaderboard(parents, data, test, seeds=(0, 1, 2), on_row=print)
    found["entries"][0]["preset"], found["entries"][0]["accuracy"]["mean"]

Names load lazily, so that `standings` can be used where torch is not.
"""

from typing import Any

_EXPORTS = {
    "Inputs": "plan",
    "leaderboard": "run",
    "references": "run",
    "run_row": "run",
    "make_plan": "plan",
    "Row": "rows",
    "REFERENCES": "rows",
    "kept_rows": "rows",
    "pareto": "table",
    "standings": "table",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
