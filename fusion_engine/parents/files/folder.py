"""Weights in several files: shards with their index, Hugging Face folders, and zip archives of either."""

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from torch import Tensor

from ...core.errors import FusionError, ParentError, UnsafeFileError
from ...core.files import check_file, open_archive
from ..header import read_mapping
from .content import Content, Record, WeightSet, in_memory

Reader = Callable[[Path, int], Content]
"""Reads one file of at most so many bytes."""

_JSON_LIMIT: Final = 64 * 2**20
_MAX_SHARDS: Final = 1000
_CONFIG: Final = "config.json"
_ENDINGS: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pt2", ".tar")
_SHARD: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
# Beside the weights in folders of trainers, and not weights.
_BESIDE: Final = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state\w*|random_states\w*)\.\w+")
# Which file of a folder that holds the same weights in several formats.
_USUAL: Final = ("model.safetensors", "pytorch_model.bin")


def read_index(path: Path, limit: int, read: Reader) -> Content:
    """The tensors that an index says are in the shards beside it, as one state dict, and the folder's config.json.

    Raises ParentError in one line for shards that are missing or hold other tensors than the index says,
    UnsafeFileError for names that lead out of the folder.
    """
    placed = _json(path).get("weight_map")
    if not isinstance(placed, dict) or not placed or not all(isinstance(file, str) for file in placed.values()):
        raise ParentError("a JSON file that is no index of weights; give the weights, or the folder")
    files = list(dict.fromkeys(placed.values()))
    for file in files:
        if PurePosixPath(file).name != file or "\\" in file or ":" in file or file.startswith("."):
            raise UnsafeFileError("the index names a file outside its folder; nothing was read")
        if not path.with_name(file).is_file():
            raise ParentError(f"the index names {_shown(file)}, which is not beside it; give all the shards")
    return _joined([path.with_name(file) for file in files], limit, read, placed)


def read_folder(path: Path, limit: int, read: Reader) -> Content:
    """The weights in a folder: by its index, in its one file of weights, or in numbered shards; and its config.json.
    ParentError where there are none, or several that differ."""
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    indexes = [file for file in files if file.name.endswith(".index.json")]
    weights = [f for f in files if f.name.lower().endswith(_ENDINGS) and not _BESIDE.fullmatch(f.name)]
    usual = [file for name in _USUAL for file in weights if file.name == name]
    if any(file.name.startswith("adapter_model") for file in weights):
        raise ParentError("the folder holds adapters (LoRA) and not the network; merge them into it and save that")
    shards = [(file, match) for file in weights if (match := _SHARD.fullmatch(file.name))]
    if usual:
        content = read(usual[0], limit)
    elif indexes:
        chosen = sorted(indexes, key=lambda file: not file.name.endswith(".safetensors.index.json"))
        content = read_index(chosen[0], limit, read)
    elif shards and len(shards) == len(weights):
        content = _joined(_complete(shards), limit, read)
    elif len(weights) == 1:
        content = read(weights[0], limit)
    elif weights:
        shown = ", ".join(_shown(file.name) for file in weights[:4])
        raise ParentError(f"the folder holds several files of weights ({shown}); name the one that is meant")
    else:
        raise ParentError("the folder holds no weights; a file .safetensors, .bin, .pt, .pth or .ckpt is needed")
    config = hub_config(path)
    return replace(content, said={**content.said, **config}) if config else content


def read_bundle(path: Path, limit: int, read: Reader) -> Content:
    """The weights in a zip archive that holds what a folder would. UnsafeFileError for entries that lead out of it, or
    for more than `limit` bytes unpacked."""
    with open_archive(path, limit, ParentError) as archive, tempfile.TemporaryDirectory() as folder:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and _is_wanted(entry.filename)]
        places = {PurePosixPath(entry.filename).parent for entry in entries if not entry.filename.endswith(".json")}
        if len(places) != 1:
            raise ParentError(
                "the archive holds weights in several folders; give each parent an archive of its own" if places else
                "the archive holds no weights; a file .safetensors, .bin, .pt, .pth or .ckpt is needed"
            )
        (place,) = places
        for entry in entries:
            if PurePosixPath(entry.filename).parent == place:
                target = Path(folder) / PurePosixPath(entry.filename).name
                with archive.open(entry) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
        content = read_folder(Path(folder), limit, read)
        # The unpacked files go away, so what they hold is read now.
        sets = tuple(replace(each, records=content.read(each.records)) for each in content.sets)
        return replace(content, sets=sets, read=in_memory)


def _is_wanted(name: str) -> bool:
    """Whether an archive's entry is weights, an index or a config; what systems hide beside files is not."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and name.lower().endswith((*_ENDINGS, ".json"))


def _joined(files: Sequence[Path], limit: int, read: Reader, placed: Mapping[str, str] | None = None) -> Content:
    """Several files' tensors as one set. placed: name -> file, where an index says it."""
    if len(files) > _MAX_SHARDS:
        raise UnsafeFileError(f"the weights are in more than {_MAX_SHARDS} files")
    if sum(file.stat().st_size for file in files) > limit:
        raise UnsafeFileError("the shards are larger together than the limit")
    records: dict[str, Record] = {}
    readers: list[tuple[Content, set[str]]] = []
    for file in files:
        try:
            content = read(check_file(file, limit, ParentError), limit)
        except FusionError as problem:
            line = str(problem).removeprefix(f"{file.name}: ")
            raise type(problem)(f"{_shown(file.name)}: {line}") from problem
        if len(content.sets) != 1:
            raise ParentError(f"{_shown(file.name)}: a shard holds one state dict")
        held = content.sets[0].records
        for name in held:
            if name in records or (placed is not None and placed.get(name) != file.name):
                raise ParentError(f"{_shown(file.name)} holds {name!r}, which the index does not say")
        records |= held
        readers.append((content, set(held)))
    lost = next((name for name in placed or () if name not in records), None)
    if lost is not None:
        raise ParentError(f"the index names a tensor {lost!r}, which {_shown((placed or {})[lost])} does not hold")

    def read_all(wanted: Mapping[str, Record]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for content, held in readers:
            found |= content.read({name: record for name, record in wanted.items() if name in held})
        return {name: found[name] for name in wanted}

    notes = tuple(dict.fromkeys(note for content, _ in readers for note in content.notes))
    return Content((WeightSet("", records),), read_all, hub_config(files[0].parent), notes)


def _complete(shards: Sequence[tuple[Path, re.Match[str]]]) -> list[Path]:
    """Numbered shards without an index, which then must be all of one set."""
    kinds = {(match[1], match[3], match[4]) for _, match in shards}
    numbers = sorted(int(match[2]) for _, match in shards)
    if len(kinds) != 1 or numbers != list(range(1, int(shards[0][1][3]) + 1)):
        raise ParentError("the folder holds shards, and not all of one set; give them all")
    return [file for file, _ in shards]


def hub_config(folder: Path) -> dict[str, Any]:
    """{'config': a Hugging Face config.json}; empty where there is none in the folder."""
    path = folder / _CONFIG
    return {"config": _json(path)} if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _JSON_LIMIT:
        raise UnsafeFileError(f"{path.name} is larger than {_JSON_LIMIT // 2**20} MiB")
    try:
        return read_mapping(path.read_text(encoding="utf-8", errors="replace"))
    except ParentError as problem:
        raise ParentError(f"{path.name}: {problem}") from problem


def _shown(name: str) -> str:
    """A file's name, short and printable, for a line."""
    return "".join(letter for letter in name[:120] if letter.isprintable())
