"""Makers of exported programs, honest and hostile, for the tests of reading .pt2 files."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_engine.core.errors import FusionError
from fusion_engine.parents import load_parent


class SmallCNN(nn.Module):
    """A residual CNN with batch norm, an in-place activation, tied and unsaved tensors, and a constant."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(width * 4, 10)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)
        self.offset = torch.full((1, 1, 1), 0.25)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.scale * self.body(x) + self.offset
        x = nn.functional.adaptive_avg_pool2d(x, 2)
        return self.head(x.reshape(x.shape[0], -1))


def trained(seed: int, width: int = 6) -> SmallCNN:
    """A SmallCNN with batch norm statistics of its own."""
    torch.manual_seed(seed)
    model = SmallCNN(width)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 1, 8, 8))
    return model.eval()


def export(
    path: Path,
    model: nn.Module,
    shape: tuple[int, ...] = (1, 8, 8),
    dynamic: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write `model` as torch.export.save does."""
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (torch.randn(4, *shape).to(dtype),), dynamic_shapes=shapes)
        torch.export.save(program, path)
    return path


def rewrite(
    source: Path, target: Path, change: Callable[[dict[str, Any]], Any] = lambda model: None, **entries: bytes | None
) -> Path:
    """Copy an archive with its model.json changed, and entries (by last part of their name) replaced or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            raw: bytes | None = old.read(name)
            if name.endswith("models/model.json"):
                model = json.loads(old.read(name))
                change(model)
                raw = json.dumps(model).encode()
            key = name.rpartition("/")[2].replace(".", "_")
            raw = entries.get(key, raw)
            if raw is not None:
                new.writestr(name, raw)
    return target


def weights_config(source: Path, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The table of weights of an archive, changed."""
    with zipfile.ZipFile(source) as archive:
        name = next(n for n in archive.namelist() if n.endswith("model_weights_config.json"))
        config = json.loads(archive.read(name))
    change(config["config"])
    return json.dumps(config).encode()


def graph(model: dict[str, Any]) -> dict[str, Any]:
    """The graph in a model.json."""
    return model["graph_module"]["graph"]


def refused(path: Path, message: str = "", error: type[FusionError] = FusionError) -> None:
    """Loading fails with one line that names the file and nothing else of the machine."""
    with pytest.raises(error, match=message) as caught:
        load_parent(path)
    assert str(caught.value).startswith(f"{path.name}: ")
    assert "\n" not in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    assert len(str(caught.value)) < 400
