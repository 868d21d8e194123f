"""Read .pt2 files: programs written by torch.export.save, without torch.export.load.

That function unpickles sample inputs, evaluates symbolic expressions and looks operators up by any name. None of it
is needed: the graph is JSON and the weights are raw bytes, so both are read here as data, with every size checked.
"""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from ..core.errors import ParentError, UnsafeFileError
from ..core.files import open_archive
from .tensors import STORAGE_DTYPES, StorageRecord, TensorRecord, materialise
from .translate import DTYPES, StoredTensor, read_graph

_SCHEMA = 8
_JSON_LIMIT = 64 * 2**20
_MAX_NAME = 300
_PAYLOAD: Final = re.compile(r"(weight|tensor)_[0-9]{1,9}")
_STORAGES: Final = {str(dtype).removeprefix("torch."): kind for kind, dtype in STORAGE_DTYPES.items()}


def read_exported_file(path: Path, limit: int, program: bool = True) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The state dict's tensors, and the values that `read_exported` takes (None without `program`).

    Raises UnsafeFileError for files that claim too much memory or hide pickles where tensors belong, ParentError for
    damaged ones and those of other versions of the format; the line names the file.
    """
    if not zipfile.is_zipfile(path):
        raise ParentError(f"{path.name}: not a file of torch.export.save, or damaged")
    with open_archive(path, limit, ParentError) as archive:
        try:
            return _read(archive, limit, program)
        except (ParentError, UnsafeFileError) as problem:
            raise type(problem)(f"{path.name}: {problem}") from problem
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as problem:
            raise ParentError(f"{path.name}: damaged, or not written by torch.export.save") from problem


def _read(archive: zipfile.ZipFile, limit: int, program: bool) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    entries = set(archive.namelist())
    models = [name for name in entries if re.fullmatch(r"([^/]+/)?models/[^/]+\.json", name)]
    if "serialized_exported_program.json" in entries:
        raise ParentError("written by torch 2.7 or older; load it there and save model.state_dict()")
    if len(models) != 1:
        raise ParentError("not a file of torch.export.save with one program")
    root, _, name = models[0].removesuffix(".json").rpartition("models/")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise ParentError("the file's numbers are big-endian; save it again on a common machine")
    model = _json(archive, models[0])
    version = model["schema_version"]["major"]
    if version != _SCHEMA:
        raise ParentError(
            f"the program's format has version {version!s:.20}, and {_SCHEMA} is read; save model.state_dict() instead"
        )
    weights_file = f"{root}data/weights/{name}_weights_config.json"
    if weights_file not in entries:
        raise ParentError(
            "the weights are stored as a pickle by an older torch; load it there and save model.state_dict()"
        )
    weights = _payloads(archive, f"{root}data/weights/", _json(archive, weights_file), limit)
    tensors = {key: stored.value for key, stored in weights.items()}
    if not program:
        return tensors, None
    constants_file = f"{root}data/constants/{name}_constants_config.json"
    config = _json(archive, constants_file) if constants_file in entries else {"config": {}}
    constants = _payloads(archive, f"{root}data/constants/", config, limit)
    return tensors, read_graph(model["graph_module"], weights, constants)


def _json(archive: zipfile.ZipFile, entry: str) -> Any:
    if archive.getinfo(entry).file_size > _JSON_LIMIT:
        raise UnsafeFileError(f"the description of the program is larger than {_JSON_LIMIT // 2**20} MiB")
    return json.loads(archive.read(entry))


def _payloads(archive: zipfile.ZipFile, folder: str, config: Mapping[str, Any], limit: int) -> dict[str, StoredTensor]:
    """Name -> tensor, for one of the archive's two tables of tensors."""
    records = {}
    for name, entry in config["config"].items():
        if len(name) > _MAX_NAME:
            raise UnsafeFileError("the file has a tensor whose name is not plausible")
        if entry["use_pickle"] is not False or entry["tensor_meta"] is None:
            raise UnsafeFileError(f"{name!r:.80} is stored as a pickle, not as plain numbers; it was not read")
        if _PAYLOAD.fullmatch(entry["path_name"]) is None:
            raise UnsafeFileError(f"{name!r:.80} is not a tensor, or is kept in an odd place; it was not read")
        records[name] = _record(archive, folder, entry)
    tensors = materialise(archive, folder, records, limit)
    return {
        name: StoredTensor(tensor, config["config"][name]["is_param"] is True, records[name])
        for name, tensor in tensors.items()
    }


def _record(archive: zipfile.ZipFile, folder: str, entry: Mapping[str, Any]) -> TensorRecord:
    meta, key = entry["tensor_meta"], entry["path_name"]
    if meta["dtype"] not in DTYPES:
        raise ParentError("a tensor has a type which this does not read; use float32")
    kind = _STORAGES[DTYPES[meta["dtype"]]]
    count, rest = divmod(archive.getinfo(folder + key).file_size, STORAGE_DTYPES[kind].itemsize)
    size, stride = _numbers(meta["sizes"]), _numbers(meta["strides"])
    (offset,) = _numbers([meta["storage_offset"]])
    if rest or len(size) != len(stride):
        raise ParentError("a tensor in the file is damaged")
    return TensorRecord(StorageRecord(kind, key, count), offset, size, stride)


def _numbers(sizes: Any) -> tuple[int, ...]:
    numbers = tuple(size["as_int"] for size in sizes)
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ParentError("a tensor in the file is damaged")
    return numbers
