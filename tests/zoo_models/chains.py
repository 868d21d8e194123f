"""Chains of layers: MLP, VGG, one-dimensional convolutions, an autoencoder with tied weights, a recurrent net."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VGG_PLAN = [8, "M", 16, "M", 24, 24, "M", 32, 32, "M", 32, 32]


class MLP(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (20, 16, 12, 5)) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.fc[:-1]:
            x = F.relu(layer(x))
        return self.fc[-1](x)


class VGG(nn.Module):
    """VGG11 for 32 x 32 images, with a linear head or one with a hidden layer and dropout."""

    def __init__(self, batch_norm: bool = False, hidden: bool = False, width: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for size in VGG_PLAN:
            if size == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers.append(nn.Conv2d(channels, size * width, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(size * width))
            layers.append(nn.ReLU(inplace=True))
            channels = size * width
        self.features = nn.Sequential(*layers)
        flat = channels * 2 * 2
        self.classifier: nn.Module = nn.Linear(flat, 10)
        if hidden:
            self.classifier = nn.Sequential(nn.Linear(flat, 40), nn.ReLU(True), nn.Dropout(), nn.Linear(40, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Conv1d(nn.Module):
    """Strided, dilated and grouped convolutions with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(4, 12, 5, padding=2), nn.BatchNorm1d(12)
        self.conv2 = nn.Conv1d(12, 16, 3, stride=2, dilation=2)
        self.conv3, self.norm3 = nn.Conv1d(16, 16, 3, padding=1, groups=4), nn.GroupNorm(4, 16)
        self.fc = nn.Linear(16 * 7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.silu(self.norm3(self.conv3(F.relu(self.conv2(x)))))
        return self.fc(F.adaptive_avg_pool1d(x, 7).flatten(1))


class Activations(nn.Module):
    """PReLU with a slope a channel, a gated linear unit, and weight norm by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.slopes = nn.Conv2d(3, 8, 3), nn.PReLU(8)
        self.gate = nn.Conv2d(8, 12, 3)
        self.scale = nn.Parameter(torch.rand(6, 1) + 0.5)
        self.direction = nn.Parameter(torch.randn(6, 6))
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.gate(self.slopes(self.conv(x))), dim=1).mean((2, 3))
        weight = self.scale * self.direction / self.direction.norm(dim=1, keepdim=True)
        return self.fc(torch.tanh(F.linear(x, weight)))


class Tied(nn.Module):
    """A decoder that is the encoder transposed, and a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.middle, self.twice = nn.Linear(10, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.bias = nn.Parameter(torch.randn(10) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.middle(torch.tanh(self.encoder(x))))
        x = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        return F.linear(x, self.encoder.weight.t(), self.bias)


class LSTMNet(nn.Module):
    """A recurrent layer between linear ones: its units are grouped with their gates."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.embed = nn.Linear(6, 6)
        self.rnn = nn.LSTM(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(self.embed(F.relu(self.first(x))))[0][:, -1])


class TwoInputs(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 8), nn.Linear(4, 8)
        self.first, self.second = nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.left(x) + self.right(y))
        return self.first(h), self.second(h)


class DataDependent(nn.Module):
    """Control flow that depends on the data: no static graph."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        if h.mean() > 0.2:
            h = F.relu(self.b(h))
        return self.c(h)
