"""What a pickled network names and its tensors do not tell: activations, poolings, heads, strides."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

import torch

from ..architectures import Architecture, Match, get
from ..core.errors import UnsupportedModelError
from .files import NamedModule

_TORCH: Final = "torch.nn.modules."
_ACTIVATION: Final = f"{_TORCH}activation."
_SEQUENTIAL: Final = f"{_TORCH}container.Sequential"
_ACTIVATIONS: Final = {
    "ReLU": "relu", "GELU": "gelu", "SiLU": "silu", "Tanh": "tanh", "Sigmoid": "sigmoid", "ELU": "elu",
    "LeakyReLU": "leaky_relu", "Softmax": "softmax", "LogSoftmax": "log_softmax",
}
_FUNCTIONS: Final = {
    f"{module}.{name}": name
    for module in ("torch.nn.functional", "torch._C._nn", "torch") for name in _ACTIVATIONS.values()
}
_POOLINGS: Final = {"MaxPool2d": "max", "AvgPool2d": "avg"}
_OUTPUTS: Final = ("softmax", "log_softmax")
# What an activation does unless its settings say otherwise.
_USUAL: Final = {"alpha": 1.0, "approximate": "none", "negative_slope": 0.01}
# Kinds of modules without tensors that change nothing in evaluation, or are looked at by themselves.
_HARMLESS: Final = frozenset({"activation", "container", "dropout", "flatten", "linear", "loss"})
# Poolings over all that is left of an image, which these networks do in another way, or leave out at the usual size.
_POOLED: Final = {"vgg": {"AdaptiveAvgPool2d"}, "resnet": {"AdaptiveAvgPool2d", "AvgPool2d"}}
# Settings that do not change the function in evaluation.
_IDLE: Final = frozenset({"training", "momentum", "dropout", "inplace", "batch_first", "track_running_stats", "dim"})

Activation = tuple[str, tuple[tuple[str, Any], ...]]
"""Name and unusual settings."""


def as_named(found: Match, modules: Sequence[NamedModule]) -> Match:
    """The network with the settings that the pickled modules name, of which nothing need be assumed. Raises
    UnsupportedModelError where they name what the recognised architecture has not."""
    architecture = get(found.config.name)
    settings: dict[str, Any] = {}
    for field, attribute in architecture.named.items():
        like = type(getattr(found.config, field))
        values = {m.settings[attribute] for m in modules if type(m.settings.get(attribute)) is like}
        if len(values) == 1:
            settings[field] = values.pop()
    activations = list(dict.fromkeys(activation for module in modules for activation in _activations(module)))
    ends = [activation for activation in activations if activation[0] in _OUTPUTS]
    activations = [activation for activation in activations if activation not in ends]
    assumed = dict(found.assumed)
    if ends and found.config.name != "vit":  # whose attention has one
        assumed["outputs"] = f"the {ends[0][0]} that the file names is left out: outputs are logits"
    if len(activations) > 1:
        _refuse(architecture, f"names the activations {' and '.join(map(_shown, activations))}", "has one")
    for name, unusual in activations:
        if hasattr(found.config, "activation"):
            settings |= {"activation": name, **dict(unusual)}
        elif (name, unusual) != (architecture.activation, ()):
            _refuse(architecture, f"names the activation {_shown((name, unusual))}", f"has {architecture.activation}")
        assumed.pop("activation", None)
    settings |= _halved_by(found, modules)
    try:
        config = replace(found.config, **settings)  # type: ignore[type-var]
    except (TypeError, ValueError):
        shown = [f"{field} {value}" for field, value in settings.items() if field in architecture.named]
        _refuse(architecture, f"names {', '.join([*shown, *map(_shown, activations)])}", "has no such setting")
    # The stem's stride is among the settings that are compared below.
    told = {*settings, "stem_stride"}
    named = replace(found, config=config, assumed={k: v for k, v in assumed.items() if k not in told})
    _check_settings(named, architecture, modules)
    _check_order(named, architecture, modules)
    return named


def _activations(module: NamedModule) -> Iterator[Activation]:
    """The activation that a module is, or those that it keeps as functions."""
    if module.kind.startswith(_ACTIVATION) and not module.kind.endswith(".MultiheadAttention"):
        kind = module.kind.removeprefix(_ACTIVATION)
        unusual = {k: v for k, v in module.settings.items() if k not in _IDLE and _USUAL.get(k) != v}
        yield _ACTIVATIONS.get(kind, kind), tuple(sorted(unusual.items()))
    for value in module.settings.values():
        if isinstance(value, str) and value in _FUNCTIONS:
            yield _FUNCTIONS[value], ()


def _halved_by(found: Match, modules: Sequence[NamedModule]) -> dict[str, str]:
    """What halves the size of a VGG's images: the poolings that are named, or strides where none is."""
    if not hasattr(found.config, "pooling"):
        return {}
    kinds = {_POOLINGS[kind] for m in modules if (kind := m.kind.rpartition(".")[2]) in _POOLINGS}
    convolutions = [m for m in modules if m.kind.endswith(".Conv2d")]
    if not kinds and any(_single(m.settings.get("stride", 1)) == 2 for m in convolutions):
        kinds = {"stride"}
    return {"pooling": kinds.pop()} if len(kinds) == 1 else {}


def _check_settings(named: Match, architecture: Architecture, modules: Sequence[NamedModule]) -> None:
    """Refuse modules of torch that do something else than the network's: by strides, epsilons, other poolings."""
    with torch.device("meta"):
        network = architecture.build(named.config)
    places = {own.rpartition(".")[0]: name.rpartition(".")[0] for name, own in named.key_map.items()}
    without_tensors = [m for m in network.modules() if not [*m.parameters(), *m.buffers(), *m.children()]]
    for module in modules:
        _, _, kind = module.kind.rpartition(".")
        if not module.kind.startswith(_TORCH):
            continue
        if module.path in places:
            ours = network.get_submodule(places[module.path])
            for key, value in module.settings.items():
                expected = getattr(ours, key, value)
                if key not in _IDLE and value != "same" and _single(value) != _single(expected):
                    what = f"names {key} {_single(value)} in {module.path or kind!r}"
                    _refuse(architecture, what, f"has {_single(expected)}")
        elif module.leaf and module.kind.split(".")[3] not in _HARMLESS:
            alike = any(
                type(m).__name__ == kind
                and all(_single(getattr(m, k, v)) == _single(v) for k, v in module.settings.items() if k not in _IDLE)
                for m in without_tensors
            )
            if not alike and kind not in _POOLED.get(architecture.name, ()):
                _refuse(architecture, f"names {kind}", "has none like it")


def _check_order(named: Match, architecture: Architecture, modules: Sequence[NamedModule]) -> None:
    """Refuse a chain of modules, where the order is known, without exactly one activation between its layers."""
    holders = {m.path.rpartition(".")[0] for m in modules if m.path}
    chain = all(m.kind == _SEQUENTIAL for m in modules if m.path in holders) and len(modules) > 1
    if not chain or architecture.name not in ("mlp", "vgg"):
        return
    layers = {own.removesuffix(".weight") for name, own in named.key_map.items() if own.endswith(".weight")}
    layers -= {m.path for m in modules if "batchnorm" in m.kind}
    counts = [0]
    for module in modules:
        if module.path in layers:
            counts.append(0)
        counts[-1] += sum(name not in _OUTPUTS for name, _ in _activations(module))
    if any(counts[:1] + counts[-1:]) or any(n != 1 for n in counts[1:-1]):
        _refuse(architecture, "does not name one activation between two layers", "has one, and none at its ends")


def _single(value: Any) -> Any:
    """A setting given for every direction as the number that it is in all of them."""
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else value


def _shown(activation: Activation) -> str:
    name, unusual = activation
    return name + (f"({', '.join(f'{k}={v}' for k, v in unusual)})" if unusual else "")


def _refuse(architecture: Architecture, named: str, ours: str) -> NoReturn:
    raise UnsupportedModelError(
        f"the file {named}, and what was recognised, {architecture.name}, {ours}; give --arch package.module:callable"
    )
