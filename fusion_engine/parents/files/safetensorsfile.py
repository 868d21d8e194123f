"""Read and write safetensors files with text metadata; writing is atomic."""

import json
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
_TYPES = frozenset({
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL", "C64", "F8_E4M3",
    "F8_E5M2",
})


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
        _name_unknown_types(path, header)
        raise ParentError(f"{path.name}: not a safetensors file, or damaged") from problem
    except MemoryError as problem:
        raise UnsafeFileError(f"{path.name}: needs more memory to read than there is") from problem


def _name_unknown_types(path: Path, length: int) -> None:
    """ParentError for a file that is whole, and has numbers of a type which this does not read."""
    try:
        with path.open("rb") as file:
            entries = json.loads(file.read(8 + length)[8:])
        odd = [(n, e["dtype"]) for n, e in entries.items() if n != "__metadata__" and e["dtype"] not in _TYPES]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if odd:
        name, dtype = odd[0]
        raise ParentError(f"{path.name}: tensor {name!r:.80} has the type {dtype!s:.20}, which this does not read")


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
