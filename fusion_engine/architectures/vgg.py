"""VGG (Simonyan & Zisserman 2015), with or without BatchNorm: convolutions and poolings, then linear layers."""

import itertools
import math
import re
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor, nn

from .registry import Architecture, Match, PlainValues, Shapes, key_map, natural, network_shapes, register

POOL = "M"


@dataclass(frozen=True)
class VGGConfig(PlainValues):
    """input_shape: (channels, height, width). features: conv widths and 'M' for a 2 x 2 max pooling. classifier: widths
    of the linear layers, the last is the number of classes. kernel: odd, padded to keep size."""

    name: ClassVar[str] = "vgg"
    input_shape: tuple[int, int, int]
    features: tuple[int | str, ...]
    classifier: tuple[int, ...]
    batch_norm: bool = False
    conv_bias: bool = True
    kernel: int = 3

    def __post_init__(self) -> None:
        widths = [*self.input_shape, *self.conv_widths, *self.classifier]
        if not self.conv_widths or not self.classifier or min(widths) < 1 or self.kernel % 2 == 0:
            raise ValueError(f"not a VGG: {self}")
        if min(self.input_shape[1:]) >> self.features.count(POOL) < 1:
            raise ValueError(f"{self.features.count(POOL)} poolings are too many for {self.input_shape}")

    @property
    def conv_widths(self) -> tuple[int, ...]:
        """Output channels of the convolutions."""
        return tuple(int(f) for f in self.features if f != POOL)

    @property
    def flattened(self) -> int:
        """Inputs of the classifier."""
        pools = self.features.count(POOL)
        return self.conv_widths[-1] * (self.input_shape[1] >> pools) * (self.input_shape[2] >> pools)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return self.classifier[-1]

    def __str__(self) -> str:
        norm = " with BatchNorm" if self.batch_norm else ""
        return f"vgg {','.join(map(str, self.features))} + {'-'.join(map(str, self.classifier))}{norm}"


class VGG(nn.Module):
    """`features` (conv, BatchNorm if any, ReLU, max pooling) and `classifier` (linear, ReLU between)."""

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = config.input_shape[0]
        for feature in config.features:
            if feature == POOL:
                layers.append(nn.MaxPool2d(2))
                continue
            width = int(feature)
            layers.append(nn.Conv2d(channels, width, config.kernel, padding=config.kernel // 2, bias=config.conv_bias))
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)
        widths = (config.flattened, *config.classifier)
        head = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
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
    found = _resolve(inputs[0] // last, features, conv_shapes[0][1], input_shape)
    if found is None:
        return None
    config = VGGConfig(*found, widths, batch_norm, f"{prefix}{numbers[0]}.bias" in shapes, kernel)
    # The features' numbers agree, the classifier's may not (dropout).
    own = {f"features.{n + i}": f"{prefix}{n + i}" for n in numbers for i in range(2 if batch_norm else 1)}
    own |= {f"classifier.{2 * i}": name for i, name in enumerate(linear)}
    names = key_map(network_shapes(config), own, shapes)
    return Match(config, names) if names is not None else None


def _numbered(shapes: Shapes) -> tuple[str, list[int]] | None:
    """Prefix and numbers of the conv weights if they all belong to one Sequential."""
    found = [re.fullmatch(r"(.*?)(\d+)\.weight", key) for key, shape in shapes.items() if len(shape) == 4]
    matches = [match for match in found if match is not None]
    prefixes = {match[1] for match in matches}
    if not matches or len(matches) != len(found) or len(prefixes) != 1:
        return None
    return prefixes.pop(), sorted(int(match[2]) for match in matches)


def _resolve(
    positions: int, features: list[int | str], channels: int, input_shape: tuple[int, ...] | None
) -> tuple[tuple[int, int, int], tuple[int | str, ...]] | None:
    """Input shape and layout that leave `positions` places at the classifier; `features` ends with a pooling."""
    side = math.isqrt(positions)
    pools = features.count(POOL)
    if input_shape is not None and len(input_shape) == 3 and input_shape[0] == channels:
        height, width = input_shape[1:]
        for layout in (features, features[:-1]):
            count = layout.count(POOL)
            if (height >> count) * (width >> count) == positions:
                return (channels, height, width), tuple(layout)
    # Also for samples that fit neither layout: checking the data then says which shape the network takes.
    return ((channels, side << pools, side << pools), tuple(features)) if side * side == positions else None


register(Architecture("vgg", VGG, recognise, VGGConfig.read, also=" and max pooling"))
