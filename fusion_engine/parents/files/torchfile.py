"""Read files of torch.save: state dicts, checkpoints around them, and whole pickled modules; and those from before
torch 1.6.

None of them is unpickled by torch. The file's pickle is read into inert records (see `inert.py`), from which the
tensors are made here, on the CPU, with every size checked against the file.
"""

import mmap
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from ...architectures.fitting import is_averaged, listed
from ...core.errors import ParentError, UnsafeFileError
from ...core.files import open_archive
from ...exported.tensors import STORAGE_DTYPES, StorageRecord, TensorRecord, byte_tensor, checked_view, materialise
from .content import Content, Record
from .inert import Array
from .pickled import read_pickle
from .weight_sets import weight_sets

MAGIC: Final = b"l\xfc\x9cF\xf9 j\xa8P\x19."
"""How the first pickle of a file from before torch 1.6 ends: its magic number."""

_PICKLES = 5  # magic number, version, the writing machine, the object, its storages' keys
_FLOATS: Final = frozenset(kind for kind, dtype in STORAGE_DTYPES.items() if dtype.is_floating_point)
# Bytes an element, of storages that are not read but skipped.
_WIDTHS: Final = {
    **{kind: dtype.itemsize for kind, dtype in STORAGE_DTYPES.items()},
    "UntypedStorage": 1, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4,
}


def read_torch_file(path: Path, limit: int) -> Content:
    """What a torch zip archive holds. Raises UnsafeFileError for files that want to run code or claim too much memory,
    ParentError for damaged ones, without the file's name."""
    with open_archive(path, limit, ParentError) as archive:
        root = _root(archive)
        value = read_pickle(archive.read(f"{root}data.pkl"))

    def read(records: Mapping[str, Record]) -> dict[str, Tensor]:
        stored = {name: record for name, record in records.items() if isinstance(record, TensorRecord)}
        with open_archive(path, limit, ParentError) as archive:
            return materialise(archive, f"{root}data/", stored, limit)

    return _content(value, read)


def _root(archive: zipfile.ZipFile) -> str:
    """The folder of a torch archive; ParentError for archives of other kinds."""
    entries = set(archive.namelist())
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise ParentError("not a file of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise ParentError("a TorchScript archive; save model.state_dict() instead")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise ParentError("the file's numbers are big-endian; save it again on a common machine")
    return root


def _content(value: Any, read: Callable[[Mapping[str, Record]], dict[str, Tensor]]) -> Content:
    """What is in a pickled object: its sets of weights, and a word on other tensors."""
    sets, others = weight_sets(value)
    if not sets and isinstance(value, Mapping) and any(isinstance(v, Array) for v in value.values()):
        raise ParentError("the file holds arrays of NumPy; save torch tensors instead")
    if not sets:
        raise ParentError("the file holds no weights; save model.state_dict()")
    if any("_packed_params" in each.path for each in sets):
        raise ParentError("the weights are quantised and packed; save the float network's state dict")
    notes = [
        f"the file also holds averaged weights ({each.path}) without names, which cannot be read"
        for each in others if is_averaged(each.path)
    ][:1]
    rest = [
        ".".join(filter(None, (each.path, name)))
        for each in others if not is_averaged(each.path) for name, record in each.records.items()
        if isinstance(record, TensorRecord) and record.storage.kind in _FLOATS
    ]
    if rest:
        notes.append(f"beside the weights, and not read: {listed(rest)}")
    return Content(tuple(sets), read, notes=tuple(notes))


def read_legacy_file(path: Path, limit: int) -> Content:
    """What a file of torch.save from before torch 1.6 holds: five pickles, then each storage's length and numbers. See
    `read_torch_file`."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        pickles = []
        for _ in range(_PICKLES):
            start = raw.tell()
            try:
                for _ in pickletools.genops(raw):  # type: ignore[arg-type]
                    pass
            except Exception as problem:  # a damaged pickle raises nearly anything
                raise ParentError("the file is damaged or cut short") from problem
            pickles.append(raw[start : raw.tell()])
        storages: dict[str, StorageRecord] = {}
        machine, value, keys = read_pickle(pickles[2]), read_pickle(pickles[3], storages), read_pickle(pickles[4])
        begin = raw.tell()
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise ParentError("the file's numbers are big-endian; save it again on a common machine")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ParentError("the file's storages are damaged")

    def read(records: Mapping[str, Record]) -> dict[str, Tensor]:
        stored = {name: record for name, record in records.items() if isinstance(record, TensorRecord)}
        if sum(record.nbytes for record in stored.values()) > limit:
            raise UnsafeFileError("the tensors claim more memory than allowed")
        held = _storages(path, begin, [storages.get(key) for key in keys], {r.storage.key for r in stored.values()})
        return {name: checked_view(held[record.storage.key], record, name) for name, record in stored.items()}

    return _content(value, read)


def _storages(path: Path, begin: int, stored: Sequence[StorageRecord | None], wanted: set[str]) -> dict[str, Tensor]:
    """Bytes of the wanted storages. Where one lies follows from the lengths of those before it."""
    held: dict[str, Tensor] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(begin)
        for storage in stored:
            if not wanted - held.keys():
                break
            if storage is None or storage.kind not in _WIDTHS:
                raise ParentError("the file's storages are of a type which this does not read; save it again")
            (length,) = struct.unpack("<q", file.read(8).ljust(8, b"\xff"))
            count = length * _WIDTHS[storage.kind]
            if not 0 <= count <= size - file.tell():
                raise ParentError("the file is damaged or cut short")
            if storage.key in wanted:
                held[storage.key] = byte_tensor(file.read(count))
            else:
                file.seek(count, 1)
    if wanted - held.keys():
        raise ParentError("numbers of a tensor are missing from the file")
    return held
