"""Networks offered for training by name, sized to the data."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from ..architectures import Config, MLPConfig, ResNetConfig, VGGConfig, ViTConfig, scaled
from ..core.errors import DataError, ParentError
from ..core.registry import nearest
from ..data import Dataset

_VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
_SMALL = (16, "M", 32, 32, "M")


def _image_shape(data: Dataset, what: str) -> tuple[int, int, int]:
    if len(data.input_shape) != 3 or min(data.input_shape[1:]) < 4:
        needed = f"a {what} takes images of 4 x 4 pixels or more"
        raise DataError(f"{data.name}: {needed}, not samples of {data.input_shape}")
    channels, height, width = data.input_shape
    return channels, height, width


def _mlp(data: Dataset, width: float) -> MLPConfig:
    inputs = math.prod(data.input_shape)
    hidden = (64, 32) if inputs <= 256 else (256, 128)
    return MLPConfig((inputs, *(scaled(w, width) for w in hidden), data.classes))


def _vgg(data: Dataset, width: float, batch_norm: bool = False) -> VGGConfig:
    shape = _image_shape(data, "VGG")
    published = _VGG11 if min(shape[1:]) >= 32 else _SMALL
    features = tuple(scaled(f, width) if isinstance(f, int) else f for f in published)
    return VGGConfig(shape, features, (data.classes,), batch_norm, conv_bias=not batch_norm)


def _resnet20(data: Dataset, width: float, norm: Literal["batch", "group"] = "batch") -> ResNetConfig:
    shape = _image_shape(data, "ResNet")
    if min(shape[1:]) < 32:
        width /= 2
    return ResNetConfig.cifar(20, shape, data.classes, width=width, norm=norm)


def _vit(data: Dataset, width: float) -> ViTConfig:
    shape = _image_shape(data, "ViT")
    large = min(shape[1:]) >= 28
    side = math.gcd(*shape[1:])
    wanted = min(shape[1:]) / (8 if large else 4)
    patch = min((p for p in range(1, side + 1) if side % p == 0), key=lambda p: (abs(p - wanted), -p))
    heads, depth = 4, 4
    stream = scaled(96 if large else 48, width, heads)
    hidden = scaled(192 if large else 96, width)
    return ViTConfig(shape, patch, stream, heads, (hidden,) * depth, (stream,) * depth, data.classes)


NETWORKS: dict[str, Callable[[Dataset, float], Config]] = {
    "mlp": _mlp,
    "vgg": _vgg,
    "vgg_bn": partial(_vgg, batch_norm=True),
    "resnet20": _resnet20,
    "resnet20_gn": partial(_resnet20, norm="group"),
    "vit": _vit,
}
"""Name -> f(data, width multiplier).

mlp: two hidden layers. vgg, vgg_bn: VGG11 from 32 x 32 pixels on, and a VGG of three convolutions below. resnet20,
resnet20_gn: the CIFAR ResNet with BatchNorm or GroupNorm, half as wide below 32 x 32 pixels. vit: four blocks of four
heads, width 96 and about 8 x 8 patches from 28 x 28 pixels on, width 48 and about 4 x 4 patches below.
"""


def network(name: str, data: Dataset, width: float = 1.0) -> Config:
    """The network `name` for `data`, its hidden widths multiplied by `width`.

    ParentError for an unknown name or a width outside (0, 8], DataError if the data is not for it.
    """
    if name not in NETWORKS:
        raise ParentError(f"unknown network {name!r}{nearest(name, NETWORKS)}")
    if not 0 < width <= 8:
        raise ParentError(f"the width multiplies the network's own widths and lies in (0, 8], not {width}")
    return NETWORKS[name](data, width)
