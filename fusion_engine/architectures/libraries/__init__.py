"""Networks of libraries, by name: optional packages, structure alone. One file a library; nothing is downloaded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..adapted import adapted
from ..registry import Architecture, Match, register
from . import timm, torchvision, transformers  # noqa: F401 - importing registers them
from .building import built, check_extent
from .config import LibraryConfig, read_config, split_library_spec
from .importing import installed
from .registry import LIBRARIES, Request

__all__ = ["LIBRARIES", "LibraryConfig", "available", "library_match"]


def available() -> dict[str, bool]:
    """Every library by name, and whether its package is installed."""
    return {name: installed(known.package) for name, known in LIBRARIES.items()}


def library_match(
    spec: str, state: Mapping[str, Tensor], input_shape: tuple[int, ...] | None = None, tokens: Sequence[str] = (),
    described: Mapping[str, Any] | None = None,
) -> Match:
    """The network of a file's tensors that `spec` names: 'torchvision:NAME', 'timm:NAME', with settings or without, or
    'hf', 'hf:PATH'. described: the config.json beside the weights. UnsupportedModelError with one line otherwise."""
    origin, model, settings, shape = split_library_spec(spec)
    tokens = tuple(tokens)
    return LIBRARIES[origin].match(Request(spec, model, settings, state, shape or input_shape, tokens, described))


def _build(config: LibraryConfig) -> nn.Module:
    module = built(str(config), lambda: LIBRARIES[config.name].build(config))
    check_extent(str(config), module)
    return adapted(module, config.inputs) if config.several or len(config.inputs) > 1 else module


for _name in LIBRARIES:
    register(Architecture(_name, _build, None, read_config))
