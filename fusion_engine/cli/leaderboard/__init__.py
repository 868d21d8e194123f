"""leaderboard: fuse by every preset, importance and seed, and compare accuracy, spread and time."""

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
