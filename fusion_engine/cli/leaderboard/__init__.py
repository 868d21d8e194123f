"""leaderboard: fuse by every preset, importance and seed, and compare accuracy, spread and time."""

from __future__ import annotations

from .command import add_arguments, run

__all__ = ["add_arguments", "run"]
