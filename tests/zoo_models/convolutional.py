"""Convolutional nets with branches: residual, dense, inverted residual, shuffled, U-shaped, upscaling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self, width: int = 8, blocks: int = 2) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        layers, inputs = [], width
        for stage in range(3):
            for block in range(blocks):
                outputs = width * 2**stage
                layers.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.layers, self.linear = nn.Sequential(*layers), nn.Linear(inputs, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        x = F.avg_pool2d(x, x.size(3))
        return self.linear(x.view(x.size(0), -1))


class DenseNet(nn.Module):
    def __init__(self, width: int = 8, growth: int = 6, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        sizes = [width + i * growth for i in range(blocks)]
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes)
        self.convs = nn.ModuleList(nn.Conv2d(size, growth, 3, 1, 1, bias=False) for size in sizes)
        last = width + blocks * growth
        self.norm, self.transition = nn.BatchNorm2d(last), nn.Conv2d(last, last // 2, 1)
        self.fc = nn.Linear(last // 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        x = F.avg_pool2d(self.transition(F.relu(self.norm(x))), 2)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, factor: int, squeeze: bool = False) -> None:
        super().__init__()
        hidden = inputs * factor
        self.residual = stride == 1 and inputs == outputs
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish()
        )
        self.squeeze = None
        if squeeze:
            self.squeeze = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, 6, 1), nn.ReLU(), nn.Conv2d(6, hidden, 1), nn.Hardsigmoid()
            )
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self, squeeze: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            InvertedResidual(8, 8, 1, 2),
            InvertedResidual(8, 12, 2, 3, squeeze),
        )
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean([2, 3]))


class ShuffleNet(nn.Module):
    """Channel split, grouped and depthwise convolutions, channel shuffle."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Conv2d(3, width, 3, 1, 1)
        self.grouped = nn.Conv2d(half, half, 1, groups=2)
        self.depthwise = nn.Conv2d(half, half, 3, 1, 1, groups=half)
        self.pointwise, self.norm = nn.Conv2d(half, half, 1), nn.BatchNorm2d(half)
        self.fc = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.stem(x)).chunk(2, 1)
        right = self.norm(self.pointwise(self.depthwise(F.relu(self.grouped(right)))))
        x = torch.cat([left, right], 1)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        return self.fc(x.mean((2, 3)))


class GroupedResidual(nn.Module):
    """A grouped convolution inside a residual connection: its groups and its channels are coupled to themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.fc(F.relu(x + self.grouped(x)).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down, self.middle = (
            nn.Conv2d(3, 8, 3, 1, 1),
            nn.Conv2d(8, 12, 3, 1, 1),
            nn.Conv2d(12, 12, 3, 1, 1),
        )
        self.up, self.join, self.norm = nn.ConvTranspose2d(12, 8, 2, 2), nn.Conv2d(16, 8, 3, 1, 1), nn.GroupNorm(2, 8)
        self.leave = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.enter(x))
        deep = F.relu(self.middle(F.relu(self.down(F.max_pool2d(skip, 2)))))
        return self.leave(F.relu(self.norm(self.join(torch.cat([self.up(deep), skip], 1)))))


class Upscale(nn.Module):
    """Sub-pixel convolution: r * r channels become one channel of a larger map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 6, 3, 1, 1), nn.Conv2d(6, 5 * 4, 3, 1, 1)
        self.refine, self.leave = nn.Conv2d(5, 4, 3, 1, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.pixel_shuffle(self.expand(F.relu(self.stem(x))), 2))
        return self.leave(F.relu(self.refine(x)))


class Roll(nn.Module):
    """Channels rolled by one, which keeps them interchangeable, and reordered by a constant index."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Linear(4, 3)
        self.register_buffer("order", torch.tensor([2, 0, 3, 1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(F.relu(self.first(x)), 1, dims=1)
        return self.fc(F.relu(self.second(x)).mean((2, 3))[:, self.order])
