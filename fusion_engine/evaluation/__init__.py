"""Evaluation: accuracy, loss, confusion, and the reference models of every comparison."""

from .measures import Evaluation, collect_logits, evaluate, measure
from .references import average_state, compare, ensembles

__all__ = ["Evaluation", "average_state", "collect_logits", "compare", "ensembles", "evaluate", "measure"]
