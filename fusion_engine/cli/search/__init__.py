"""search: look for a recipe's best parameters by held-out loss, within a budget."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
