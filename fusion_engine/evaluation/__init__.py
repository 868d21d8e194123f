"""Evaluation: accuracy, loss, confusion, and the reference models of every comparison."""

from .doubts import chance_notes, unlike_notes
from .measures import Evaluation, collect_logits, evaluate, measure
from .references import average_state, compare, ensembles

__all__ = [
    "Evaluation", "average_state", "chance_notes", "collect_logits", "compare", "ensembles", "evaluate", "measure",
    "unlike_notes",
]  # fmt: skip
