"""Residual networks of basic blocks (He et al. 2016): CIFAR style (20, 32, 44) and ImageNet style (18, 34)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from torch import Tensor, nn

from . import resnet_names
from .activations import ACTIVATIONS, Activation, other_activations
from .registry import Architecture, Match, PlainValues, Shapes, register, scaled

Norm = Literal["batch", "group", "none"]
_CIFAR_WIDTHS = (16, 32, 64)
_IMAGENET_WIDTHS = (64, 128, 256, 512)
_IMAGENET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_KERNEL = {"cifar": 3, "imagenet": 7}
_INPUT = {"cifar": (32, 32), "imagenet": (224, 224)}


@dataclass(frozen=True)
class ResNetConfig(PlainValues):
    """Widths of a residual network.

    input_shape: (channels, height, width); global average pooling takes any size. stem_width: output channels of the
    stem. widths: channels of the residual stream in every stage. inner: for every stage, the inner width of each of
    its blocks; its lengths are the numbers of blocks. stem: 'cifar' (3 x 3) or 'imagenet' (7 x 7 with stride 2, then
    a max pooling); stem_stride, if not 0, and stem_pool say otherwise. Every stage but the first halves the size in
    its first block, whose shortcut is a 1 x 1 projection; the first stage's has one where the stem's width is another.
    groups: of the GroupNorms.
    """

    name: ClassVar[str] = "resnet"
    newer: ClassVar[frozenset[str]] = frozenset({"activation", "stem_stride", "stem_pool"})
    input_shape: tuple[int, int, int]
    stem_width: int
    widths: tuple[int, ...]
    inner: tuple[tuple[int, ...], ...]
    classes: int
    stem: Literal["cifar", "imagenet"] = "cifar"
    norm: Norm = "batch"
    groups: int = 1
    conv_bias: bool = False
    activation: str = "relu"
    stem_stride: int = 0
    stem_pool: Literal["usual", "none", "max"] = "usual"

    def __post_init__(self) -> None:
        blocks = [len(stage) for stage in self.inner]
        if not blocks or len(blocks) != len(self.widths) or min(blocks) < 1:
            raise ValueError(f"not a ResNet: widths {self.widths}, inner widths {self.inner}")
        if min(*self.input_shape, *self.normalised_widths, self.classes, self.groups) < 1:
            raise ValueError(f"not a ResNet: {self}")
        if self.activation not in ACTIVATIONS or self.stem_stride not in (0, 1, 2, 4):
            raise ValueError(f"not a ResNet: activation {self.activation!r}, stride of the stem {self.stem_stride}")
        if self.norm == "group" and any(width % self.groups for width in self.normalised_widths):
            raise ValueError(f"{self.groups} groups do not divide the widths {self.normalised_widths}")

    @property
    def normalised_widths(self) -> tuple[int, ...]:
        """Every width a norm layer may have."""
        return (self.stem_width, *self.widths, *itertools.chain.from_iterable(self.inner))

    @property
    def usual_stem(self) -> tuple[int, bool]:
        """Stride of the stem's convolution, and whether a max pooling follows, in a network of this kind."""
        return (2, True) if self.stem == "imagenet" else (1, False)

    @property
    def depth(self) -> int:
        """Layers with weights, as in the names of published networks: two a block, the stem and the head."""
        return 2 + 2 * sum(map(len, self.inner))

    @classmethod
    def cifar(
        cls, depth: int, input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, norm: Norm = "batch"
    ) -> ResNetConfig:
        """CIFAR style of `depth` 6n + 2; `width` multiplies the widths 16, 32 and 64. ValueError for other depths."""
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, not {depth}")
        return cls._regular(input_shape, _CIFAR_WIDTHS, ((depth - 2) // 6,) * 3, classes, "cifar", width, norm)

    @classmethod
    def imagenet(
        cls, depth: int, input_shape: tuple[int, int, int], classes: int, *, width: float = 1.0, norm: Norm = "batch"
    ) -> ResNetConfig:
        """ImageNet style of `depth` 18 or 34; `width` multiplies the widths 64 to 512. ValueError for others."""
        if depth not in _IMAGENET_BLOCKS:
            raise ValueError(f"an ImageNet ResNet of basic blocks has 18 or 34 layers, not {depth}")
        return cls._regular(input_shape, _IMAGENET_WIDTHS, _IMAGENET_BLOCKS[depth], classes, "imagenet", width, norm)

    @classmethod
    def _regular(
        cls, input_shape: tuple[int, int, int], published: tuple[int, ...], blocks: tuple[int, ...], classes: int,
        stem: Literal["cifar", "imagenet"], width: float, norm: Norm,
    ) -> ResNetConfig:
        widths = tuple(scaled(w, width) for w in published)
        inner = tuple((w,) * n for w, n in zip(widths, blocks, strict=True))
        groups = usual_groups(widths) if norm == "group" else 1
        return cls(input_shape, widths[0], widths, inner, classes, stem, norm, groups)

    def __str__(self) -> str:
        norm = {"batch": "BatchNorm", "group": f"GroupNorm({self.groups})", "none": "no norm"}[self.norm]
        unusual = "" if self.activation == "relu" else f", {self.activation}"
        unusual += f", a stem of stride {self.stem_stride}" if self.stem_stride else ""
        if self.stem_pool != "usual":
            unusual += f", {'a' if self.stem_pool == 'max' else 'no'} pooling behind the stem"
        return f"resnet{self.depth} {self.stem} {'-'.join(map(str, self.widths))} with {norm}{unusual}"


def usual_groups(widths: tuple[int, ...]) -> int:
    """GroupNorm's usual 32 groups (Wu & He 2018), or the next power of two with two channels or more in each."""
    return next((g for g in (32, 16, 8, 4, 2) if all(w % g == 0 and w // g >= 2 for w in widths)), 1)


def _conv(config: ResNetConfig, inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=config.conv_bias)


def _norm(config: ResNetConfig, width: int) -> nn.Module:
    if config.norm == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(config.groups, width) if config.norm == "group" else nn.Identity()


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, each followed by a norm, added to the shortcut."""

    def __init__(self, config: ResNetConfig, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(config, inputs, inner, 3, stride)
        self.bn1 = _norm(config, inner)
        self.conv2 = _conv(config, inner, outputs, 3, 1)
        self.bn2 = _norm(config, outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(config, inputs, outputs, 1, stride), _norm(config, outputs))
        self.activation = Activation(config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, height, width) -> (N, outputs, height / stride, width / stride)."""
        y = self.activation(self.bn1(self.conv1(x)))
        return cast(Tensor, self.activation(self.bn2(self.conv2(y)) + self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's names: conv1, bn1, layer1.0.conv1, ..., layer2.0.downsample.0, fc; bn also for GroupNorm."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        stride, pool = config.usual_stem
        stride = config.stem_stride or stride
        pool = pool if config.stem_pool == "usual" else config.stem_pool == "max"
        self.conv1 = _conv(config, config.input_shape[0], config.stem_width, _KERNEL[config.stem], stride)
        self.bn1 = _norm(config, config.stem_width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        self.activation = Activation(config.activation)
        self.stages = len(config.widths)
        inputs = config.stem_width
        for s, (outputs, inner) in enumerate(zip(config.widths, config.inner, strict=True)):
            blocks = []
            for b, width in enumerate(inner):
                blocks.append(BasicBlock(config, inputs, width, outputs, 2 if s and not b else 1))
                inputs = outputs
            self.add_module(f"layer{s + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> logits (N, classes)."""
        x = self.maxpool(self.activation(self.bn1(self.conv1(x))))
        for s in range(self.stages):
            x = self.get_submodule(f"layer{s + 1}")(x)
        return cast(Tensor, self.fc(x.mean((2, 3))))


def recognise(shapes: Shapes, input_shape: tuple[int, ...] | None = None) -> Match | None:
    """A stem, pairs of convolutions in blocks, 1 x 1 projections, norms after every convolution or none, one head.

    Names give the order and say which tensors belong to one block; see `resnet_names`. A 7 x 7 stem is taken to be
    the ImageNet one. The number of GroupNorm groups is not to be seen in the weights: `usual_groups` is assumed,
    and a note says so. `input_shape` gives the size of the images (default 32 x 32 or 224 x 224).
    Raises UnsupportedModelError for residual networks of a kind that is known not to be built in.
    """
    found = resnet_names.read(shapes)
    if found is None:
        return None
    weights = {canonical: shapes[f"{own}.weight"] for canonical, own in found.own.items()}
    stem_shape = weights["conv1"]
    stem: Literal["cifar", "imagenet"] = "imagenet" if stem_shape[2:] == (7, 7) else "cifar"
    widths = tuple(weights[f"layer{s}.0.conv2"][0] for s in range(1, len(found.blocks) + 1))
    inner = tuple(tuple(weights[f"layer{s}.{b}.conv1"][0] for b in range(n)) for s, n in enumerate(found.blocks, 1))
    size = _INPUT[stem]
    if input_shape is not None and len(input_shape) == 3 and input_shape[0] == stem_shape[1]:
        size = (input_shape[1], input_shape[2])
    stems = "a stride of 2 and a max pooling" if stem == "imagenet" else "a stride of 1 and no pooling"
    assumed = {
        "stem_stride": f"a stem with {stems} assumed; the file does not say: give --arch resnet:stem_stride=1,"
        "stem_pool=none if not"
    }
    groups = 1
    if found.norm == "group":
        groups = usual_groups((stem_shape[0], *widths, *itertools.chain.from_iterable(inner)))
        assumed["groups"] = (
            f"the weights do not tell GroupNorm's number of groups; {groups} are assumed: give --arch resnet:groups=N "
            "for another"
        )
    config = ResNetConfig(
        (stem_shape[1], *size), stem_shape[0], widths, inner, weights["fc"][0], stem, found.norm, groups,
        f"{found.own['conv1']}.bias" in shapes,
    )
    return Match.checked(config, found.own, shapes, assumed)


def _undecided(config: ResNetConfig) -> Sequence[Iterable[Mapping[str, Any]]]:
    stride, pool = config.usual_stem
    stems: list[Mapping[str, Any]] = [{"stem_stride": 0, "stem_pool": "usual"}]
    others = [(s, p) for s in (1, 2) for p in (False, True) if (s, p) != (stride, pool)]
    stems += [{"stem_stride": s, "stem_pool": "max" if p else "none"} for s, p in others]
    if config.norm != "group":
        return [other_activations(), stems]
    groups = [g for g in (1, 2, 4, 8, 16, 32, 64) if all(width % g == 0 for width in config.normalised_widths)]
    return [other_activations(), stems, [{"groups": g} for g in groups]]


register(Architecture(
    "resnet", ResNet, recognise, ResNetConfig.read, otherwise="resnet:activation=silu",
    named={"groups": "num_groups"}, undecided=_undecided,
))
