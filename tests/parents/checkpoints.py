"""Checkpoints as trainers write them, and a module that they are of, for the tests of reading."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo import build


class Deep(nn.Module):
    """20 - 16 - 12 - 5, with a norm that counts; recognised as nothing that is built in."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 16)
        self.norm = nn.BatchNorm1d(16)
        self.body = nn.Sequential(nn.Linear(16, 12), nn.ReLU())
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(torch.relu(self.norm(self.first(x)))))


class Tied(nn.Module):
    """Two layers that are one, and a third name for it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(20, 20)
        self.b = nn.Linear(20, 20)
        self.c = nn.ModuleDict({"again": self.a})
        self.b.weight = self.a.weight
        self.out = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.b(torch.relu(self.a(x)))))


class Numbered(nn.Module):
    """Has integers that are no weights: positions and a table that is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(20, 16)
        self.head = nn.Linear(16, 5)
        self.register_buffer("order", torch.arange(19, -1, -1))
        self.register_buffer("seen", torch.tensor(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x)))


DEEP, TIED, NUMBERED = (f"tests.parents.checkpoints:{name}" for name in ("Deep", "Tied", "Numbered"))
SHAPE = (20,)


def mlp_state(seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    """A state dict that is recognised: 20 - 16 - 5."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"fc1.weight": (16, 20), "fc1.bias": (16,), "fc2.weight": (5, 16), "fc2.bias": (5,)}
    return {prefix + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def deep_state(seed: int = 0, prefix: str = "") -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {prefix + name: tensor for name, tensor in Deep().state_dict().items()}


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def prefixes() -> Iterator[str]:
    single = ["module.", "_orig_mod.", "model.", "net.", "backbone.", "network.encoder_q."]
    yield from [*single, *("".join(pair) for pair in itertools.permutations(single[:3], 2))]


def __getattr__(name: str) -> Any:
    """zoo_NAME: a model of the zoo, for --arch."""
    if not name.startswith("zoo_"):
        raise AttributeError(name)
    return lambda: build(name.removeprefix("zoo_"))[0]
