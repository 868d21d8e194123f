"""Residual networks as they are written elsewhere: the same function under other names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


class Block(nn.Module):
    """shortcut: name of the projection's Sequential. norm: prefix of the norms' names."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, names: tuple[str, str]) -> None:
        super().__init__()
        self.names = names
        shortcut, prefix = names
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.add_module(f"{prefix}1", norm(outputs))
        self.add_module(f"{prefix}2", norm(outputs))
        self.add_module(shortcut, nn.Sequential())
        if stride != 1 or inputs != outputs:
            self.add_module(
                shortcut, nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut, prefix = self.names
        y = F.relu(getattr(self, f"{prefix}1")(self.conv1(x)))
        return F.relu(getattr(self, f"{prefix}2")(self.conv2(y)) + getattr(self, shortcut)(x))


class CifarStyle(nn.Module):
    """layer1.0.conv1, layer2.0.shortcut.0, linear; norms are named bn or gn."""

    def __init__(
        self, norm: Norm = nn.BatchNorm2d, prefix: str = "bn", widths: tuple[int, ...] = (8, 8, 12), blocks: int = 2
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.first_norm = f"{prefix}1"
        self.add_module(self.first_norm, norm(widths[0]))
        inputs = widths[0]
        for stage, width in enumerate(widths, start=1):
            layers = []
            for b in range(blocks):
                layers.append(Block(inputs, width, 2 if stage > 1 and b == 0 else 1, norm, ("shortcut", prefix)))
                inputs = width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.linear = nn.Linear(inputs, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(getattr(self, self.first_norm)(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ImageNetStyle(nn.Module):
    """Sequential modules without a name for any part; the blocks in one list."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 7, 2, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        shapes = [(6, 6, 1), (6, 10, 2), (10, 10, 1), (10, 12, 2)]
        self.trunk = nn.ModuleList(Block(*shape, nn.BatchNorm2d, ("proj", "norm")) for shape in shapes)
        self.classifier = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        for block in self.trunk:
            x = block(x)
        return self.classifier(x.mean((2, 3)))


def randomised(model: nn.Module) -> nn.Module:
    """Norms away from the identity, so that a mix-up of two of them shows; eval mode."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var",)) or (name.endswith("weight") and tensor.ndim == 1):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.3, generator=generator)
    return model.eval()
