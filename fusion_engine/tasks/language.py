"""Next tokens: logits (n, t, vocabulary) of a causal language model; position i predicts token i + 1."""

from typing import ClassVar

from torch import Tensor

from ..data import IGNORED
from .base import Task


class Language(Task):
    """Labels are the tokens themselves, IGNORED where none counts; without labels all tokens that are not masked."""

    name: ClassVar[str] = "language"
    metric: ClassVar[str] = "perplexity"
    ascends: ClassVar[bool] = False

    def logits(self, outputs: Tensor) -> Tensor:
        """(n, t - 1, vocabulary): the last position has no next token."""
        return outputs[:, :-1]

    def labels(self, x: Tensor, y: Tensor | None) -> Tensor | None:
        """(n, t - 1)"""
        tokens = self.data.part(x, self.data.tokens[0])
        assert tokens is not None  # of token inputs the first is the tokens
        wanted = (tokens if y is None else y)[:, 1:]
        seen = self.seen(x)
        return wanted if seen is None else wanted.masked_fill(~seen.to(wanted.device), IGNORED)

    def seen(self, x: Tensor) -> Tensor | None:
        """Predictions of tokens that count, from tokens that count."""
        counted = self.data.counted(x)
        return None if counted is None else counted[:, 1:] & counted[:, :-1]
