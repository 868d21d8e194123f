"""Network architectures: recognised from a state dict, built from a config. One file an architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UnsupportedModelError
from ..core.seeds import torch_generator
from . import mlp, resnet, vgg, vit  # noqa: F401 - importing registers them
from .adapted import adapted, find_logits, token_example
from .custom import CustomConfig, build_configured, build_custom, custom_config, is_custom, outputs_of
from .fitting import fit, listed, own_parts
from .libraries import LibraryConfig, available, library_match
from .mlp import MLP, MLPConfig
from .registry import Architecture, Config, Match, Shapes, get, names, network_shapes, register, scaled
from .resize import fits
from .resnet import ResNet, ResNetConfig
from .settings import LIBRARIES, configured, library_of, split_spec
from .vgg import VGG, VGGConfig
from .vit import ViT, ViTConfig

__all__ = [
    "LIBRARIES",
    "MLP",
    "VGG",
    "Architecture",
    "Config",
    "CustomConfig",
    "LibraryConfig",
    "MLPConfig",
    "Match",
    "ResNet",
    "ResNetConfig",
    "VGGConfig",
    "ViT",
    "ViTConfig",
    "adapted",
    "available",
    "build",
    "configured",
    "example_input",
    "find_logits",
    "fits",
    "get",
    "is_custom",
    "library_of",
    "match",
    "names",
    "network_shapes",
    "outputs_of",
    "read_config",
    "recognise",
    "register",
    "scaled",
    "split_spec",
    "token_example",
]


def recognise(state: Mapping[str, Tensor], arch: str = "auto", input_shape: tuple[int, ...] | None = None) -> Config:
    """The config of a state dict, from its names and shapes alone. See `match`."""
    return match(state, arch, input_shape).config


def match(
    state: Mapping[str, Tensor], arch: str = "auto", input_shape: tuple[int, ...] | None = None,
    tokens: Sequence[str] = (), described: Mapping[str, Any] | None = None,
) -> Match:
    """Config of a state dict, and canonical name -> the state's own name.

    arch: 'auto' tries every built-in architecture, or a built-in name, or one out of a library's registry
    ('torchvision:resnet50', 'timm:NAME', 'hf'; see `libraries`), or 'package.module:callable' (imports the
    user's code; `input_shape` of one sample is then required; prefixes and what is not the network's do not matter, see
    `fitting.fit`). tokens: names of token inputs, none for real-valued ones. described: a Hugging
    Face config.json that lies beside the weights. Raises UnsupportedModelError.
    """
    if library_of(arch) is not None:
        return library_match(arch, state, input_shape, tokens, described)
    if is_custom(arch):
        config, assumed = custom_config(arch, input_shape, tokens)
        own = fit(arch, build_custom(arch), state)
        return Match(config, own.key_map, assumed, beside=own.beside, copies=own.copies, notes=own.notes)
    tried = names() if arch == "auto" else [get(arch).name]
    problem = UnsupportedModelError(
        f"the weights were not recognised (tried {', '.join(tried)}; first tensor {next(iter(state), 'none')!r}); "
        "name the architecture with --arch package.module:callable"
    )
    for part in own_parts(state):
        shapes = {name: tuple(state[key].shape) for name, key in part.names.items()}
        try:
            found = next(filter(None, (_recognised(name, shapes, input_shape) for name in tried)), None)
        except UnsupportedModelError as known:  # the kind of network is known, and not built in
            problem = known
            continue
        if found is not None:
            key_map = {canonical: part.names[name] for canonical, name in found.key_map.items()}
            return replace(found, key_map=key_map, beside=part.beside, copies=part.copies, notes=part.notes)
    raise _with_hint(problem, state, tried, input_shape)


def _with_hint(
    problem: UnsupportedModelError, state: Mapping[str, Tensor], tried: Sequence[str],
    input_shape: tuple[int, ...] | None,
) -> UnsupportedModelError:
    """The error for weights that were not recognised; where those of one module, most of all, would be, with what
    stands beside it: that may be the network's own, so it is the user's to leave out."""
    modules = list(dict.fromkeys(name.partition(".")[0] for name in state if "." in name))
    for module in modules if len(modules) < len(state) else ():
        part = {name: tuple(t.shape) for name, t in state.items() if name.startswith(f"{module}.")}
        rest = [name for name in state if name not in part]
        try:
            found = any(_recognised(name, part, input_shape) for name in tried)
        except UnsupportedModelError:
            continue
        if found and 0 < len(rest) < len(part):
            return UnsupportedModelError(
                f"the weights under {module!r} are recognised, and those beside it may be the network's own: "
                f"{listed(rest)}; --weights {module} leaves them out"
            )
    return problem


def _recognised(name: str, shapes: Shapes, input_shape: tuple[int, ...] | None) -> Match | None:
    recognise_by_shapes = get(name).recognise
    try:
        return recognise_by_shapes(shapes, input_shape) if recognise_by_shapes is not None else None
    except ValueError:  # shapes that no config allows, such as empty ones
        return None


def build(config: Config) -> nn.Module:
    """A freshly initialised module in eval mode; its state dict has the canonical names."""
    if isinstance(config, CustomConfig):
        return build_configured(config)
    return get(config.name).build(config).eval()


def example_input(config: Config, batch: int = 2) -> Tensor:
    """(batch, *input_shape) float32 standard normal, or int64 tokens 0; the same at every call."""
    names = getattr(config, "inputs", ())
    if names:
        return token_example(config.input_shape, names, batch)
    shape = (batch, *config.input_shape)
    return torch.randn(shape, generator=torch_generator(0, "example input"))


def read_config(values: Mapping[str, Any]) -> Config:
    """A registered architecture's config from {"name": ..., **as_json()}. Raises UnsupportedModelError if it is none,
    UnsafeFileError for one that asks for too much memory."""
    try:
        return get(str(values["name"])).read(values)
    except (KeyError, TypeError, ValueError) as problem:
        raise UnsupportedModelError("the file's own description of its architecture is not valid") from problem
