"""Makers of torch files, honest and hostile, for the tests of reading."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn


def write_archive(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None, **entries: bytes) -> Path:
    """A file in torch's zip format with the given pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickled)
        archive.writestr("m/byteorder", b"little")
        archive.writestr("m/version", b"3\n")
        for key, raw in (storages or {}).items():
            archive.writestr(f"m/data/{key}", raw)
        for name, raw in entries.items():
            archive.writestr(f"m/{name}", raw)
    return path


class Caller:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def pickled(value: Any, protocol: int = 2) -> bytes:
    return pickle.dumps(value, protocol)


def tensor_pickle(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, length: int = 6) -> bytes:
    """A state dict {'a.weight': tensor} over storage '0' of `length` float32, with any layout."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", length) if isinstance(value, Storage) else None

    buffer = io.BytesIO()
    rebuild = Caller(torch._utils._rebuild_tensor_v2, Storage(), offset, size, stride, False, {})
    Pickler(buffer, 2).dump({"a.weight": rebuild})
    return buffer.getvalue()


class Net(nn.Module):
    """A user's module with nested modules, a lambda-free forward, and things beside the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.device = torch.device("cpu")
        self.kind = torch.float32
        self.layer_class = nn.Linear
        self.activation = nn.functional.relu
        self.size = torch.Size([2, 3])
        self.history = {"loss": [1.0, 0.5], 3: None}
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
