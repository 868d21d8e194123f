"""Where `verify` is imported from by programs that use the engine."""

from .running.verify import VerifyReport, random_permutation, settled, verify, verify_all

__all__ = ["VerifyReport", "random_permutation", "settled", "verify", "verify_all"]
