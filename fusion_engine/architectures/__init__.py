"""Network architectures: recognised from a state dict, built from a config. One file an architecture."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UnsupportedModelError
from ..core.seeds import torch_generator
from . import mlp, resnet, vgg, vit  # noqa: F401 - importing registers them
from .adapted import adapted, find_logits, token_example
from .custom import CustomConfig, build_configured, build_custom, custom_config, is_custom, outputs_of
from .mlp import MLP, MLPConfig
from .registry import Architecture, Config, Match, get, names, network_shapes, register, scaled
from .resize import fits
from .resnet import ResNet, ResNetConfig
from .settings import configured, split_spec
from .vgg import VGG, VGGConfig
from .vit import ViT, ViTConfig

__all__ = [
    "MLP",
    "VGG",
    "Architecture",
    "Config",
    "CustomConfig",
    "MLPConfig",
    "Match",
    "ResNet",
    "ResNetConfig",
    "VGGConfig",
    "ViT",
    "ViTConfig",
    "adapted",
    "build",
    "configured",
    "example_input",
    "find_logits",
    "fits",
    "get",
    "is_custom",
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
    tokens: Sequence[str] = (),
) -> Match:
    """Config of a state dict, and canonical name -> the state's own name.

    arch: 'auto' tries every built-in architecture, or a built-in name, or 'package.module:callable' (imports the
    user's code; `input_shape` of one sample is then required and names must agree). tokens: names of token inputs, none
    for real-valued ones. Raises UnsupportedModelError.
    """
    if is_custom(arch):
        config, assumed = custom_config(arch, input_shape, tokens)
        wanted = build_custom(arch).state_dict()
        _check_custom(arch, wanted, state)
        return Match(config, {name: name for name in wanted if name in state}, assumed)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    tried = names() if arch == "auto" else [get(arch).name]
    for name in tried:
        recognise_by_shapes = get(name).recognise
        try:
            found = recognise_by_shapes(shapes, input_shape) if recognise_by_shapes is not None else None
        except ValueError:  # shapes that no config allows, such as empty ones
            continue
        if found is not None:
            return found
    raise UnsupportedModelError(
        f"the weights were not recognised (tried {', '.join(tried)}; first tensor {next(iter(state), 'none')!r}); "
        "name the architecture with --arch package.module:callable"
    )


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


def _check_custom(spec: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue
            raise UnsupportedModelError(f"--arch {spec}: the file has no tensor {name!r}, which the module needs")
        if tensor.shape != state[name].shape:
            raise UnsupportedModelError(
                f"--arch {spec}: {name!r} is {tuple(state[name].shape)} in the file and {tuple(tensor.shape)} "
                "in the module"
            )
    extra = next((name for name in state if name not in wanted), None)
    if extra is not None:
        raise UnsupportedModelError(f"--arch {spec}: the file has a tensor {extra!r} that the module lacks")
