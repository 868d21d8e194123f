"""Networks offered for training by name, sized to the data."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..architectures import Config, MLPConfig, VGGConfig
from ..core.errors import DataError, ParentError
from ..core.registry import nearest
from ..data import Dataset

__all__ = ["NETWORKS", "network"]

_VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
_SMALL = (16, "M", 32, 32, "M")


def _mlp(data: Dataset) -> MLPConfig:
    inputs = math.prod(data.input_shape)
    return MLPConfig((inputs, *((64, 32) if inputs <= 256 else (256, 128)), data.classes))


def _vgg(data: Dataset, batch_norm: bool = False) -> VGGConfig:
    if len(data.input_shape) != 3 or min(data.input_shape[1:]) < 4:
        raise DataError(f"{data.name}: a VGG takes images of 4 x 4 pixels or more, not samples of {data.input_shape}")
    channels, height, width = data.input_shape
    features = _VGG11 if min(height, width) >= 32 else _SMALL
    return VGGConfig((channels, height, width), features, (data.classes,), batch_norm, conv_bias=not batch_norm)


NETWORKS: dict[str, Callable[[Dataset], Config]] = {
    "mlp": _mlp,
    "vgg": _vgg,
    "vgg_bn": lambda data: _vgg(data, batch_norm=True),
}
"""mlp: two hidden layers. vgg, vgg_bn: VGG11 from 32 x 32 pixels on, and a VGG of three convolutions below."""


def network(name: str, data: Dataset) -> Config:
    """The network `name` for `data`. ParentError for an unknown name, DataError if the data is not for it."""
    if name not in NETWORKS:
        raise ParentError(f"unknown network {name!r}{nearest(name, NETWORKS)}")
    return NETWORKS[name](data)
