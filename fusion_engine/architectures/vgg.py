"""VGG (Simonyan & Zisserman 2015), with or without BatchNorm: convolutions and poolings, then linear layers."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn

from .activations import ACTIVATIONS, Activation, other_activations
from .registry import Architecture, Match, PlainValues, Shapes, key_map, natural, network_shapes, register

POOL = "M"
Pooling = Literal["max", "avg", "stride"]
_MOST_LAYOUTS = 32
_SEARCHED_CONVS = 6


@dataclass(frozen=True)
class VGGConfig(PlainValues):
    """Widths of a VGG and what its weights do not tell.

    input_shape: (channels, height, width). features: conv widths, and 'M' where the Sequential has a place behind the
    activation. classifier: widths of the linear layers, the last is the number of classes. kernel: odd. pooling: what
    halves the size at an 'M', a 2 x 2 max or average pooling, or the stride of the convolution before it. halved: for
    every convolution whether the size is halved with it, where that is not at every 'M'; without an 'M' it is by its
    stride. padded: whether convolutions keep the size.
    """

    name: ClassVar[str] = "vgg"
    newer: ClassVar[frozenset[str]] = frozenset({"activation", "pooling", "halved", "padded"})
    input_shape: tuple[int, int, int]
    features: tuple[int | str, ...]
    classifier: tuple[int, ...]
    batch_norm: bool = False
    conv_bias: bool = True
    kernel: int = 3
    activation: str = "relu"
    pooling: Pooling = "max"
    halved: tuple[bool, ...] = ()
    padded: bool = True

    def __post_init__(self) -> None:
        widths = [*self.input_shape, *self.conv_widths, *self.classifier]
        if not self.conv_widths or not self.classifier or min(widths) < 1 or self.kernel % 2 == 0:
            raise ValueError(f"not a VGG: {self}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"not a VGG: activation {self.activation!r}")
        if self.halved and len(self.halved) != len(self.conv_widths):
            raise ValueError(f"{len(self.halved)} marks do not go with {len(self.conv_widths)} convolutions")
        if min(self.sides) < 1:
            raise ValueError(f"{self.features.count(POOL)} poolings are too many for {self.input_shape}")

    @property
    def conv_widths(self) -> tuple[int, ...]:
        """Output channels of the convolutions."""
        return tuple(int(f) for f in self.features if f != POOL)

    @property
    def flattened(self) -> int:
        """Inputs of the classifier."""
        return self.conv_widths[-1] * math.prod(self.sides)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width behind the last of the features; 0 where nothing is left."""
        height, width = self.input_shape[1:]
        lost = 0 if self.padded else self.kernel - 1
        for stride, pooled in zip(self.strides, self.pooled, strict=True):
            height, width = (max(0, (side - lost + stride - 1) // stride // pooled) for side in (height, width))
        return height, width

    @property
    def places(self) -> tuple[bool, ...]:
        """Whether the Sequential has a place for a pooling behind each convolution."""
        after = itertools.zip_longest(self.features, self.features[1:])
        return tuple(following == POOL for feature, following in after if feature != POOL)

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each convolution."""
        by_stride = [self.pooling == "stride" or not place for place in self.places]
        return tuple(2 if h and s else 1 for h, s in zip(self.halved or self.places, by_stride, strict=True))

    @property
    def pooled(self) -> tuple[int, ...]:
        """Side of the pooling behind each convolution, 1 for none."""
        halved = zip(self.halved or self.places, self.strides, strict=True)
        return tuple(2 if h and stride == 1 else 1 for h, stride in halved)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.classifier[-1]

    def __str__(self) -> str:
        norm = " with BatchNorm" if self.batch_norm else ""
        norm += "" if self.activation == "relu" else f", {self.activation}"
        norm += {"max": "", "avg": ", average pooling", "stride": ", strides"}[self.pooling]
        norm += f", halved by {[int(h) for h in self.halved]}" if self.halved else ""
        norm += "" if self.padded else ", not padded"
        return f"vgg {','.join(map(str, self.features))} + {'-'.join(map(str, self.classifier))}{norm}"


class VGG(nn.Module):
    """`features` (conv, BatchNorm if any, activation, pooling) and `classifier` (linear, activation between)."""

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, padding = config.input_shape[0], config.kernel // 2 if config.padded else 0
        pooling = nn.AvgPool2d if config.pooling == "avg" else nn.MaxPool2d
        places = zip(config.conv_widths, config.strides, config.pooled, config.places, strict=True)
        for width, stride, pooled, place in places:
            layers.append(nn.Conv2d(channels, width, config.kernel, stride, padding, bias=config.conv_bias))
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(Activation(config.activation))
            if place:  # numbers are names: a place that does not pool is kept by something without tensors
                layers.append(pooling(pooled) if pooled > 1 else nn.Identity())
            channels = width
        self.features = nn.Sequential(*layers)
        widths = (config.flattened, *config.classifier)
        head = [m for pair in itertools.pairwise(widths) for m in (nn.Linear(*pair), Activation(config.activation))]
        self.classifier = nn.Sequential(*head[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> logits (N, classes)."""
        return cast(Tensor, self.classifier(self.features(x).flatten(1)))


def recognise(shapes: Shapes, input_shape: tuple[int, ...] | None = None) -> Match | None:
    """Convolutions of one nn.Sequential followed by linear layers.

    Poolings show as gaps in the Sequential's numbering and BatchNorm by its running means; the classifier's inputs
    give the spatial size, hence the input's. A pooling after the last convolution leaves no gap: it is assumed, as
    in every published VGG, unless `input_shape` says that there is none.
    """
    convs = _numbered(shapes)
    if convs is None:
        return None
    prefix, numbers = convs
    conv_shapes = [shapes[f"{prefix}{n}.weight"] for n in numbers]
    kernel = conv_shapes[0][2]
    chained = all(a[0] == b[1] for a, b in itertools.pairwise(conv_shapes))
    if not chained or kernel % 2 == 0 or any(shape[2:] != (kernel, kernel) for shape in conv_shapes):
        return None
    batch_norm = f"{prefix}{numbers[0] + 1}.running_mean" in shapes
    pooled = [b - a - (3 if batch_norm else 2) for a, b in itertools.pairwise(numbers)]
    if numbers[0] != 0 or any(gap not in (0, 1) for gap in pooled):
        return None

    linear = [key for key, shape in shapes.items() if len(shape) == 2 and key.endswith(".weight")]
    linear = [key.removesuffix(".weight") for key in sorted(linear, key=natural)]
    widths = tuple(shapes[f"{name}.weight"][0] for name in linear)
    inputs = tuple(shapes[f"{name}.weight"][1] for name in linear)
    last = conv_shapes[-1][0]
    if not linear or inputs[1:] != widths[:-1] or inputs[0] % last:
        return None

    features: list[int | str] = []
    for shape, pool in zip(conv_shapes, [*pooled, 1], strict=True):
        features += [shape[0], POOL] if pool else [shape[0]]
    positions, channels = inputs[0] // last, conv_shapes[0][1]
    settings = {"batch_norm": batch_norm, "conv_bias": f"{prefix}{numbers[0]}.bias" in shapes, "kernel": kernel}
    config = _resolve(positions, features, channels, widths, input_shape, settings)
    if config is None:
        return None
    # The features' numbers agree, the classifier's may not (dropout).
    own = {f"features.{n + i}": f"{prefix}{n + i}" for n in numbers for i in range(2 if batch_norm else 1)}
    own |= {f"classifier.{2 * i}": name for i, name in enumerate(linear)}
    names = key_map(network_shapes(config), own, shapes)
    how = {"max": "max pooling", "avg": "average pooling", "stride": "strides"}[config.pooling]
    at = ", ".join(str(i) for i, half in enumerate(config.halved or config.places, 1) if half) or "none"
    padding = "" if config.padded else ", without padding"
    line = (
        f"{how} assumed, the size halved with convolutions {at}{padding}; the file does not say: give --arch "
        "vgg:pooling=avg or vgg:pooling=stride, or package.module:callable, if not"
    )
    assumed = {"pooling": line}
    if input_shape is None or config.input_shape != tuple(input_shape):
        size = " x ".join(map(str, config.input_shape))
        assumed["input_shape"] = (
            f"images of {size} assumed: as large as the {config.features.count(POOL)} places for poolings make them, "
            "and strides leave no place; give --input-shape, or data, if not"
        )
    return Match(config, names, assumed) if names is not None else None


def _numbered(shapes: Shapes) -> tuple[str, list[int]] | None:
    """Prefix and numbers of the conv weights if they all belong to one Sequential."""
    found = [re.fullmatch(r"(.*?)(\d+)\.weight", key) for key, shape in shapes.items() if len(shape) == 4]
    matches = [match for match in found if match is not None]
    prefixes = {match[1] for match in matches}
    if not matches or len(matches) != len(found) or len(prefixes) != 1:
        return None
    return prefixes.pop(), sorted(int(match[2]) for match in matches)


def _resolve(
    positions: int, features: list[int | str], channels: int, classifier: tuple[int, ...],
    input_shape: tuple[int, ...] | None, settings: Mapping[str, Any],
) -> VGGConfig | None:
    """Input shape and layout that leave `positions` places at the classifier; `features` ends with a pooling."""
    if input_shape is not None and len(input_shape) == 3 and input_shape[0] == channels:
        shape = (channels, *input_shape[1:])
        for layout in (features, features[:-1]):
            with suppress(ValueError):
                config = VGGConfig(shape, tuple(layout), classifier, **settings)
                if math.prod(config.sides) == positions:
                    return config
        for layout in (features, features[:-1]):
            with suppress(ValueError):
                config = VGGConfig(shape, tuple(layout), classifier, **settings)
                other = next(_halvings(config, positions), None)
                if other is not None:
                    return replace(config, **other)
    # Also for samples that fit no layout: checking the data then says which shape the network takes.
    side, pools = math.isqrt(positions), features.count(POOL)
    if side * side != positions:
        return None
    return VGGConfig((channels, side << pools, side << pools), tuple(features), classifier, **settings)


def _halvings(config: VGGConfig, positions: int) -> Iterator[Mapping[str, Any]]:
    """Settings that leave `positions` places at the classifier: those of a usual network first, then those where the
    size is halved elsewhere, as at a dropout's place in the Sequential, or by a stride without a place."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    few = len(config.places) <= _SEARCHED_CONVS
    # Whether there is a place behind the last convolution no number tells.
    layouts = [config.features]
    layouts.append(config.features[:-1] if config.features[-1] == POOL else (*config.features, POOL))
    for other, features in enumerate(layouts):
        places = replace(config, features=features, halved=()).places
        for halved in itertools.product((False, True), repeat=len(places)) if few else [places]:
            moved = sum(a != b for a, b in zip(halved, places, strict=True))
            if other and halved[-1] != places[-1]:
                continue  # which is the same as without the change
            for padded, pooling in itertools.product((True, False), ("max", "avg", "stride")):
                settings: dict[str, Any] = {"features": features, "padded": padded, "pooling": pooling}
                settings["halved"] = tuple(halved) if moved else ()
                with suppress(ValueError):
                    changed = replace(config, **settings)
                    pools = any(side > 1 for side in changed.pooled)
                    usual = "stride" if any(halved) else "max"  # of networks without a pooling only one counts
                    if math.prod(changed.sides) == positions and (pools or pooling == usual):
                        found.append((2 * moved + other + (not padded), settings))
    found.sort(key=lambda pair: pair[0])  # stable: max before average before strides
    return (settings for _, settings in found[:_MOST_LAYOUTS])


def _undecided(config: VGGConfig) -> Sequence[Iterable[Mapping[str, Any]]]:
    return [other_activations(), _halvings(config, math.prod(config.sides))]


register(Architecture("vgg", VGG, recognise, VGGConfig.read, otherwise="vgg:activation=tanh", undecided=_undecided))
