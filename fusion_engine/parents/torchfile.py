"""Read .pt and .pth files: state dicts, checkpoints that wrap one, and whole pickled modules.

None of them is unpickled by torch. The archive's pickle is read into inert records (see `inert.py`), from which the
tensors are made here, on the CPU, with every size checked against the archive.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import ParentError, UnsafeFileError
from ..core.files import open_archive
from ..exported.tensors import TensorRecord, materialise
from .inert import StandIn
from .pickled import read_pickle

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params")
_MAX_DEPTH = 100
_MAX_TENSORS = 100_000
_MAX_WORD = 100
_MAX_SIZES = 10


@dataclass(frozen=True)
class NamedModule:
    """A module of a pickled network: its path, the full name of its class, whether that holds tensors or modules, and
    its plain settings; functions of torch that it keeps are settings by their full names."""

    path: str
    kind: str
    leaf: bool
    settings: Mapping[str, Any]


def read_torch_file(path: Path, limit: int) -> tuple[dict[str, Tensor], list[NamedModule]]:
    """Name -> tensor on the CPU, in the file's order; and the modules of a pickled network, none of a state dict.
    Raises UnsafeFileError for files that want to run code or claim too much memory, ParentError for damaged ones."""
    if not zipfile.is_zipfile(path):
        raise ParentError(
            f"{path.name}: not a file of torch.save, damaged, or from before torch 1.6; load it in torch and save "
            "model.state_dict() again"
        )
    with open_archive(path, limit, ParentError) as archive:
        try:
            return _read(archive, limit)
        except (ParentError, UnsafeFileError) as problem:
            raise type(problem)(f"{path.name}: {problem}") from problem


def _read(archive: zipfile.ZipFile, limit: int) -> tuple[dict[str, Tensor], list[NamedModule]]:
    entries = set(archive.namelist())
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if any(name.rpartition("/")[2] == "archive_format" for name in entries):
        raise ParentError("an exported program; give its file the ending .pt2")
    if len(pickles) != 1:
        raise ParentError("not a file of torch.save")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise ParentError("a TorchScript archive; save model.state_dict() instead")
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise ParentError("the file's numbers are big-endian; save it again on a common machine")
    modules: list[NamedModule] = []
    records = dict(_find_state(read_pickle(archive.read(pickles[0])), modules))
    if not records:
        raise ParentError("the file holds no weights; save model.state_dict()")
    return materialise(archive, f"{root}data/", records, limit), modules


def _find_state(value: Any, met: list[NamedModule]) -> Iterator[tuple[str, TensorRecord]]:
    """The named tensors of a module, a state dict, or a checkpoint that holds either; modules are added to `met`."""
    for _ in range(3):
        if isinstance(value, StandIn):
            yield from _walk_module(value, "", 0, met)
            return
        if not isinstance(value, Mapping):
            return
        wrapped = [value[key] for key in _WRAPPERS if isinstance(value.get(key), Mapping | StandIn)]
        if not wrapped:
            yield from ((str(k), v) for k, v in value.items() if isinstance(v, TensorRecord))
            return
        value = wrapped[0]


def _walk_module(
    module: StandIn, prefix: str, depth: int, met: list[NamedModule]
) -> Iterator[tuple[str, TensorRecord]]:
    """What nn.Module.state_dict() would name, from the module's own tables."""
    if depth > _MAX_DEPTH or len(met) >= _MAX_TENSORS:
        raise UnsafeFileError("modules are nested without end")
    state = module.state if isinstance(module.state, Mapping) else {}
    tables: list[Any] = [state.get(key) for key in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(table, Mapping) for table in tables):
        raise ParentError("the file's object is not an nn.Module; save model.state_dict()")
    parameters, buffers, modules = tables
    is_leaf = not any(isinstance(value, TensorRecord | StandIn) for table in tables for value in table.values())
    met.append(NamedModule(prefix[:-1], type(module).pickled_name, is_leaf, _settings(state)))
    passing = state.get("_non_persistent_buffers_set", ())
    for name, tensor in [*parameters.items(), *buffers.items()]:
        if isinstance(tensor, TensorRecord) and name not in passing:
            yield f"{prefix}{name}", tensor
    for name, child in modules.items():
        if isinstance(child, StandIn):
            yield from _walk_module(child, f"{prefix}{name}.", depth + 1, met)


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """A module's public attributes that are numbers, words, tuples of numbers, or functions or classes of torch."""
    settings = {}
    for key, value in state.items():
        if not isinstance(key, str) or key.startswith("_"):
            continue
        is_word = isinstance(value, str) and len(value) < _MAX_WORD
        is_shape = isinstance(value, tuple) and len(value) < _MAX_SIZES and all(isinstance(n, int) for n in value)
        if isinstance(value, bool | int | float) or is_word or is_shape:
            settings[key] = value
        elif isinstance(value, type) and issubclass(value, StandIn):
            settings[key] = value.pickled_name
    return settings
