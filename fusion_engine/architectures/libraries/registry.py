"""The table of libraries. Each lives in its own file and registers itself here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..registry import Match
from .config import LibraryConfig


@dataclass(frozen=True)
class Request:
    """What is asked of a library: the network of a file's tensors.

    spec: as the user gave it. model, settings: its parts. state: the file's tensors, by name; shapes and types are
    looked at, no numbers. input_shape: of one sample, where known. tokens: names of token inputs. described: the
    config.json beside the weights, where there is one.
    """

    spec: str
    model: str
    settings: Mapping[str, Any]
    state: Mapping[str, Tensor]
    input_shape: tuple[int, ...] | None = None
    tokens: tuple[str, ...] = ()
    described: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Library:
    """A library of networks. package: what must be installed. match: the network of a file's tensors. build: the
    library's own module, with random weights, under its own names. names: of its networks."""

    name: str
    package: str
    match: Callable[[Request], Match]
    build: Callable[[LibraryConfig], nn.Module]
    names: Callable[[], Sequence[str]]


LIBRARIES: dict[str, Library] = {}


def add_library(library: Library) -> None:
    """Add a library to the table."""
    LIBRARIES[library.name] = library
