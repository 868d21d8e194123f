"""The table of architectures. Each lives in its own file and registers itself here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self

import torch
from pydantic import TypeAdapter
from torch import nn

from ..core.errors import UnsupportedModelError
from ..core.registry import nearest

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
class PlainValues:
    """What the built-in architectures' config dataclasses inherit: plain values of their fields, and the way back.

    newer: fields that files written before there were such do not have; they have the defaults there.
    """

    newer: ClassVar[frozenset[str]] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Plain values; `read` gives an equal config."""
        return dict(json.loads(json.dumps(asdict(self))))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Config from `as_json`'s values; TypeError, KeyError or ValueError if they are not such."""
        given = {**{field.name: field.default for field in fields(cls) if field.name in cls.newer}, **values}
        return TypeAdapter(cls).validate_python({field.name: given[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Match:
    """A recognised state dict: its config, and canonical tensor name -> name in the file. assumed: what the weights do
    not tell, setting -> line that says what was assumed and how to say otherwise. beside: names in the file of what is
    not the network's. copies: name in the file of an averaged copy -> of what it is a copy. notes: what is worth saying
    of those."""

    config: Config
    key_map: Mapping[str, str]
    assumed: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def checked(
        cls, config: Config, own: Mapping[str, str], shapes: Shapes, assumed: Mapping[str, str] | None = None
    ) -> Match | None:
        """A match, or None unless it covers all of the file and every tensor has the shape that the network needs. own:
        see `key_map`."""
        needed = network_shapes(config)
        names = key_map(needed, own, shapes)
        if names is None or any(shapes[name] != needed[canonical] for canonical, name in names.items()):
            return None
        return cls(config, names, assumed or {})


def key_map(needed: Iterable[str], own: Mapping[str, str], shapes: Shapes) -> dict[str, str] | None:
    """Canonical tensor name -> name in the file, of the tensors `needed`; None unless that covers all of the file.

    own: canonical name of a tensor, or of the module that holds it -> name in the file. Files written by old versions
    of torch lack BatchNorm's counter, so that one may be missing.
    """
    names = {}
    for canonical in needed:
        path, _, part = canonical.rpartition(".")
        name = own.get(canonical) or f"{own.get(path, '')}.{part}"
        if name in shapes or part != "num_batches_tracked":
            names[canonical] = name
    return names if set(names.values()) == set(shapes) else None


def network_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Canonical tensor name -> shape in a built-in architecture's network; empty if there is no such network."""
    try:
        with torch.device("meta"):
            state = get(config.name).build(config).state_dict()
    except (ValueError, RuntimeError, TypeError, AssertionError, OverflowError):  # made-up sizes
        return {}
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@dataclass(frozen=True)
class Architecture:
    """One family of networks.

    recognise(shapes, input_shape) gives a Match or None; input_shape, where known, settles what shapes cannot. It
    raises UnsupportedModelError where it knows the kind of network and that it is not built in. Without it the network
    is none that weights tell: files say what it is, and its widths are fixed.
    build(config) gives a freshly initialised module; read(values) gives a config from `as_json`'s values.
    activation: what is assumed, or the only one where the config has no field for it; also: what else its networks have
    and weights do not tell. otherwise: what to give for --arch where that is wrong. named: config field -> attribute
    that holds it in pickled modules. undecided(config): for everything that its weights do not tell, the settings it
    may have, each fitting the same weights: by one of each is meant one network.
    """

    name: str
    build: Callable[[Any], nn.Module]
    recognise: Callable[[Shapes, tuple[int, ...] | None], Match | None] | None
    read: Callable[[Mapping[str, Any]], Config]
    activation: str = "relu"
    also: str = ""
    otherwise: str = "package.module:callable"
    named: Mapping[str, str] = field(default_factory=dict)
    undecided: Callable[[Any], Sequence[Iterable[Mapping[str, Any]]]] = lambda config: ()


_ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Add an architecture to the table."""
    _ARCHITECTURES[architecture.name] = architecture


def names() -> list[str]:
    """Names of the built-in architectures: those that are recognised by their weights."""
    return [name for name, architecture in _ARCHITECTURES.items() if architecture.recognise is not None]


def get(name: str) -> Architecture:
    """The architecture `name`; UnsupportedModelError with the nearest name otherwise."""
    if name not in _ARCHITECTURES:
        raise UnsupportedModelError(f"unknown architecture {name!r}{nearest(name, names())}")
    return _ARCHITECTURES[name]


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts fc2 before fc10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def scaled(width: int, factor: float, multiple: int = 1) -> int:
    """`width` times `factor`, rounded to a multiple of `multiple` that is not zero."""
    return max(1, round(width * factor / multiple)) * multiple
