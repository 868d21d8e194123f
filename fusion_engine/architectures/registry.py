"""The table of architectures. Each lives in its own file and registers itself here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ..core.errors import UnsupportedModelError
from ..core.registry import nearest

__all__ = ["Architecture", "Config", "Match", "Shapes", "get", "names", "natural", "register"]

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor name -> shape, in the file's order: all that recognition looks at."""


class Config(Protocol):
    """What every architecture's frozen config dataclass offers."""

    @property
    def name(self) -> str:
        """The architecture's registered name."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample; one-dimensional where the network flattens its input."""

    @property
    def classes(self) -> int:
        """Number of outputs."""

    def as_json(self) -> dict[str, Any]:
        """Plain values from which `read` makes an equal config."""


@dataclass(frozen=True)
class Match:
    """A recognised state dict: its config, and canonical tensor name -> name in the file."""

    config: Config
    key_map: Mapping[str, str]


@dataclass(frozen=True)
class Architecture:
    """One family of networks.

    recognise(shapes, input_shape) gives a Match or None; input_shape, where known, settles what shapes cannot.
    build(config) gives a freshly initialised module; read(values) gives a config from `as_json`'s values.
    """

    name: str
    summary: str
    build: Callable[[Any], nn.Module]
    recognise: Callable[[Shapes, tuple[int, ...] | None], Match | None]
    read: Callable[[Mapping[str, Any]], Config]


_ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Add an architecture to the table."""
    _ARCHITECTURES[architecture.name] = architecture


def names() -> list[str]:
    """Names of the built-in architectures."""
    return list(_ARCHITECTURES)


def get(name: str) -> Architecture:
    """The architecture `name`; UnsupportedModelError with the nearest name otherwise."""
    if name not in _ARCHITECTURES:
        raise UnsupportedModelError(f"unknown architecture {name!r}{nearest(name, names())}")
    return _ARCHITECTURES[name]


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts fc2 before fc10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
