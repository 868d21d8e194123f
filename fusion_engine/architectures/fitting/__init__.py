"""Which of a file's tensors are the network's, under which names."""

from .fit import Fit, fit, likely_names, missing, ties
from .foreign import averaged, is_averaged, is_foreign, listed, offered
from .parts import Part, own_parts
from .plain_names import plain_names

__all__ = [
    "Fit", "Part", "averaged", "fit", "is_averaged", "is_foreign", "likely_names", "listed", "missing", "offered",
    "own_parts", "plain_names", "ties",
]
