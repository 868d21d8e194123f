"""Tensors as torch's archives store them: raw bytes, and where in them a tensor lies. Read with every size checked."""

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import torch
from torch import Tensor

from ..core.errors import ParentError, UnsafeFileError

STORAGE_DTYPES: Final = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128,
}
# Newer types have no storages of their own: torch's files name them beside untyped bytes.
_UNTYPED: Final = {
    name: getattr(torch, name)
    for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
}


def _sealed(_record: Any, _state: Any) -> NoReturn:
    """Records are made once, checked: a pickle that changes one afterwards (BUILD) is refused."""
    raise UnsafeFileError("wants to change a tensor after it was read; nothing was run. Save the state dict again")


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A storage that a tensor refers to: type name such as 'FloatStorage', the archive's key, and its length."""

    kind: str
    key: str
    length: int

    # Without its own, a frozen class with slots is given one that sets its fields.
    __setstate__ = _sealed


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor: its storage, offset and layout in elements. Materialised, with checks, only after reading."""

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    __setstate__ = _sealed

    @property
    def dtype(self) -> torch.dtype:
        """Type of its elements. ParentError for types that are not read."""
        found = STORAGE_DTYPES.get(self.storage.kind) or _UNTYPED.get(self.storage.kind)
        if found is None:
            raise ParentError(f"a tensor has the type {self.storage.kind}, which this does not read; use float32")
        return found

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        return math.prod(self.size) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class OddTensor:
    """A tensor that is no plain block of numbers, and is not read. what: 'sparse', 'quantised', ..."""

    what: str

    __setstate__ = _sealed


def materialise(
    archive: zipfile.ZipFile, folder: str, records: Mapping[str, TensorRecord], limit: int
) -> dict[str, Tensor]:
    """Tensors of records, by name, from the bytes in an archive's folder. ParentError if they do not fit,
    UnsafeFileError if they take more than `limit` bytes together."""
    if sum(record.nbytes for record in records.values()) > limit:
        raise UnsafeFileError("the tensors claim more memory than allowed")
    storages: dict[str, Tensor] = {}
    return {name: _tensor(archive, folder, record, storages, name) for name, record in records.items()}


def _tensor(
    archive: zipfile.ZipFile, folder: str, record: TensorRecord, storages: dict[str, Tensor], name: str
) -> Tensor:
    storage = record.storage
    if storage.key not in storages:
        try:
            raw = archive.read(f"{folder}{storage.key}")
        except KeyError:
            raise ParentError(f"the numbers of tensor {name!r} are missing from the file") from None
        storages[storage.key] = byte_tensor(raw)
    return checked_view(storages[storage.key], record, name)


def byte_tensor(raw: bytes) -> Tensor:
    """Bytes as a tensor of its own."""
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0).byte()


def checked_view(held: Tensor, record: TensorRecord, name: str) -> Tensor:
    """A tensor of its own from its storage's bytes; ParentError where these are too few for it."""
    dtype, storage = record.dtype, record.storage
    if len(held) != storage.length * dtype.itemsize:
        raise ParentError(f"the numbers of tensor {name!r} are cut short")
    elements = math.prod(record.size)
    last = record.offset + sum((n - 1) * step for n, step in zip(record.size, record.stride, strict=True))
    if elements > storage.length or (elements and last >= storage.length):
        raise ParentError(f"tensor {name!r} reaches outside its storage")
    if elements == 0:
        return torch.empty(record.size, dtype=dtype)
    return held.view(dtype).as_strided(record.size, record.stride, record.offset).clone().contiguous()
