"""Files of a bundle, judged by themselves before anything is done with them. None is unpickled, and none makes more of
itself than it says."""

import json
import math
import sys
import types
import typing
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

import numpy as np

from fusion_engine.core.edits import EDITS_LIMIT
from fusion_engine.core.errors import FusionError, StoreError
from fusion_engine.core.files import open_archive
from fusion_engine.core.recipe import Recipe
from fusion_engine.parents import read_safetensors

from .layout import DEEPEST, MOST_JSON, MOST_UNPACKED

_HEADER = 10_000
_DIGITS = 20  # of whole numbers: seeds and sizes have fewer
_TIMES = ("created", "started", "ended", "changed")
_LATEST = 250_000_000_000  # seconds since 1970: the year 9892, which every calendar still has


def read_json(content: bytes, what: str) -> Any:
    """The value in JSON bytes. StoreError for what is none, too large, or nested too deeply."""
    if len(content) > MOST_JSON:
        raise StoreError(f"{what}: larger than {MOST_JSON // 2**20} MiB")
    try:
        value = json.loads(content, parse_constant=_no_number, parse_float=_float, parse_int=_whole)
        deep = _depth(value) > DEEPEST
    except RecursionError:
        deep = True
    except ValueError:
        raise StoreError(f"{what}: not JSON, or damaged") from None
    if deep:
        raise StoreError(f"{what}: nested too deeply")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"{text} is too large")
    return int(text)


def _depth(value: Any) -> int:
    """How deep lists and mappings go."""
    layer, depth = [value], 0
    while layer := [part for part in layer if isinstance(part, dict | list)]:
        depth += 1
        layer = [inner for part in layer for inner in (part.values() if isinstance(part, dict) else part)]
    return depth


def check_shape(value: Any, hint: Any, what: str, where: str = "") -> None:
    """StoreError unless plain values have the shape of a TypedDict, or of one of the types inside it."""
    if problem := _problem(value, hint, where or "it"):
        raise StoreError(f"{what}: {problem}")


def _problem(value: Any, hint: Any, where: str) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return ""
    if origin in (Required, NotRequired):
        return _problem(value, arguments[0], where)
    if origin in (Union, types.UnionType):
        return "" if any(not _problem(value, arm, where) for arm in arguments) else f"{where} is not of its type"
    if origin is Literal:
        return "" if value in arguments else f"{where} is not one of {', '.join(map(str, arguments))}"
    if typing.is_typeddict(hint):
        if not isinstance(value, dict):
            return f"{where} is no mapping"
        hints = typing.get_type_hints(hint)
        if missing := sorted(hint.__required_keys__ - value.keys()):
            return f"{where} has no {missing[0]}"
        found = (_problem(value[key], hints[key], f"{where}.{key}") for key in hints if key in value)
        return next(filter(None, found), "") or _no_time(value, hints, where)
    if origin is list:
        if not isinstance(value, list):
            return f"{where} is no list"
        return next(filter(None, (_problem(entry, arguments[0], f"{where}[]") for entry in value)), "")
    if origin is dict:
        if not isinstance(value, dict):
            return f"{where} is no mapping"
        found = (_problem(entry, arguments[1], f"{where}.{key:.40}") for key, entry in value.items())
        return next(filter(None, found), "")
    if hint is float:
        fine = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    else:
        fine = value is None if hint in (None, type(None)) else isinstance(value, hint)
    return "" if fine else f"{where} is not of its type"


def _no_time(value: dict[str, Any], hints: dict[str, Any], where: str) -> str:
    """Of a mapping whose types are right."""
    for key in _TIMES:
        if key in hints and isinstance(time := value.get(key), int | float) and not 0 <= time <= _LATEST:
            return f"{where}.{key} is no time"
    return ""


def check_file(path: Path, shown: str) -> None:
    """FusionError in one line unless a result file is what its ending says. Shapes of JSON are judged elsewhere."""
    ending = path.suffix
    if ending == ".npz":
        check_npz(path, shown)
    elif ending == ".safetensors":
        _named(path, shown, lambda: read_safetensors(path))
    elif path.stat().st_size > MOST_JSON:
        raise StoreError(f"{shown}: larger than {MOST_JSON // 2**20} MiB")
    elif ending == ".json":
        read_json(path.read_bytes(), shown)
    elif ending in (".jsonl", ".log"):
        for line in path.read_bytes().splitlines():
            read_json(line, shown)
    else:
        if path.stat().st_size > EDITS_LIMIT:  # YAML is slow to read
            raise StoreError(f"{shown}: larger than {EDITS_LIMIT // 2**20} MiB")
        text = path.read_bytes().decode("utf-8", errors="replace")
        _named(path, shown, lambda: Recipe.from_yaml(text))


def check_npz(path: Path, shown: str) -> None:
    """StoreError unless a file holds arrays of plain numbers or text, each as large as its header says."""
    def read() -> None:
        with open_archive(path, MOST_UNPACKED, StoreError) as archive:
            for entry in archive.infolist():
                _check_array(archive, entry)

    _named(path, shown, read)


def unpacked(path: Path) -> int:
    """Bytes that an npz file says it unpacks to; 0 of one that is no archive, which is judged elsewhere."""
    try:
        with open_archive(path, MOST_UNPACKED, StoreError) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except StoreError:
        return 0


def _check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=_HEADER)
        if dtype.hasobject or not entry.filename.endswith(".npy"):
            raise StoreError("it holds more than plain arrays")
        if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise StoreError("an array is not as large as it says")


def _named(path: Path, shown: str, read: Callable[[], object]) -> None:
    try:
        read()
    except FusionError as error:
        raise StoreError(f"{shown}: {str(error).removeprefix(f'{path.name}: ')}") from None
