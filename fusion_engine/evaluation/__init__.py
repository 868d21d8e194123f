"""Evaluation: accuracy, loss, confusion, and the reference models of every comparison."""

from .measures import (
    Evaluation,
    collect_logits,
    collect_outputs,
    evaluate,
    measure,
    measure_logits,
    measure_rows,
    task_of,
)
from .references import about, average_state, compare, ensembles

__all__ = [
    "Evaluation", "about", "average_state", "collect_logits", "collect_outputs", "compare", "ensembles", "evaluate",
    "measure", "measure_logits", "measure_rows", "task_of",
]  # fmt: skip
