"""Where `verify` is imported from by programs that use the engine."""

from .running.verify import VerifyReport, random_permutation, verify, verify_all, without_blamed

__all__ = ["VerifyReport", "random_permutation", "verify", "verify_all", "without_blamed"]
