"""Read and write safetensors files with text metadata; writing is atomic."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...core.errors import ParentError, StoreError, UnsafeFileError
from ...core.files import atomic_path

_MAX_HEADER = 100 * 2**20


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the header's metadata. ParentError for a damaged file."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(_MAX_HEADER, path.stat().st_size):
        raise ParentError(f"{path.name}: not a safetensors file, or cut short")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError, KeyError) as problem:
        raise ParentError(f"{path.name}: not a safetensors file, or damaged") from problem
    except MemoryError as problem:
        raise UnsafeFileError(f"{path.name}: needs more memory to read than there is") from problem


def write_state(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and text metadata as safetensors: the whole file appears, or nothing. StoreError if it cannot."""
    # safetensors refuses tensors that share memory; tied weights are written once per name.
    tensors = {name: torch.clone(t.detach().cpu(), memory_format=torch.contiguous_format) for name, t in state.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, {"format": "pt", **(metadata or {})})
    except OSError as problem:
        raise StoreError(f"{Path(path).name}: cannot be written ({problem.strerror or 'no access'})") from problem
