"""A search over a recipe's parameters with a budget: the best by held-out loss, never by the test set.

    from fusion_engine import search
    found = search(parents, data, "kf_linear", trials=30, test=test, on_trial=print)
    found["best_recipe"], found["trials"][0]["loss"]

Names load lazily: `space` and `table` are used where neither torch nor Optuna is.
"""

from typing import Any

_EXPORTS = {
    "search": "running",
    "SearchInputs": "inputs",
    "search_inputs": "inputs",
    "make_plan": "plan",
    "SearchPlan": "plan",
    "run_trial": "trial",
    "History": "history",
    "Dimension": "space",
    "dimensions": "space",
    "search_table": "table",
    "budget_left": "table",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
