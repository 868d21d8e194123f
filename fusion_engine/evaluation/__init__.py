"""Evaluation: accuracy, loss, confusion, and the reference models of every comparison."""

from .doubts import chance_notes, unlike_notes
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
from .predictions import Predictions
from .references import about, compare, compared, ensembles

__all__ = [
    "Evaluation", "Predictions", "about", "chance_notes", "collect_logits", "collect_outputs",
    "compare", "compared", "ensembles", "evaluate", "measure", "measure_logits", "measure_rows", "task_of",
    "unlike_notes",
]  # fmt: skip
