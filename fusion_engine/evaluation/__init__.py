"""Evaluation: accuracy, loss, confusion, and the reference models of every comparison."""

from ..graph import average_state
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
from .references import about, compare, ensembles

__all__ = [
    "Evaluation", "about", "average_state", "chance_notes", "collect_logits", "collect_outputs", "compare", "ensembles",
    "evaluate", "measure", "measure_logits", "measure_rows", "task_of", "unlike_notes",
]  # fmt: skip
