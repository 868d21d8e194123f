"""Uploaded files that are one parent together: shards with their index, and what a Hugging Face folder holds."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fusion_engine.core.errors import ParentError

_INDEX_LIMIT: Final = 64 * 2**20
_CONFIG: Final = "config.json"
# Other files of a Hugging Face folder: they say nothing of weights.
_BESIDE: Final = re.compile(
    r"(generation_config|tokenizer\w*|special_tokens_map|preprocessor_config|added_tokens|vocab|merges)\.(json|txt)"
)
_SHARD: Final = re.compile(r"(.+)-\d{5}-of-\d{5}\.\w+")


def whole_parents(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """(name to show, path) of each parent: of shards their index, or the folder of those without one. Shards lie side
    by side under the names they were given in a folder of their own, made here by links.

    Raises ParentError where two files of shards have the same name: whose they are is not known then.
    """
    rest = [(shown, path) for shown, path in files if not _BESIDE.fullmatch(shown) and shown != _CONFIG]
    named = dict(rest)
    configs = [path for shown, path in files if shown == _CONFIG]
    parents: list[tuple[str, Path]] = []
    for number, (shown, path) in enumerate([file for file in rest if file[0].endswith(".index.json")]):
        group = {shown: path} | {name: named[name] for name in _placed(path) if name in named}
        parents.append((shown, _together(path.parent / f"shards-{number}", group, configs) / shown))
        rest = [file for file in rest if file[0] not in group]
    sets: dict[str, dict[str, Path]] = {}
    for shown, path in rest:
        if match := _SHARD.fullmatch(shown):
            group = sets.setdefault(match[1], {})
            if shown in group:
                raise ParentError(f"two files are called {shown}; put the files of each parent into a zip archive")
            group[shown] = path
    for name, group in sets.items():
        folder = next(iter(group.values())).parent / f"shards-{len(parents)}"
        parents.append((name, _together(folder, group, configs)))
    return parents + [file for file in rest if not _SHARD.fullmatch(file[0])]


def _placed(index: Path) -> list[str]:
    """The files that an index names; none where it is no index, which its reader says."""
    if index.stat().st_size > _INDEX_LIMIT:
        return []
    try:
        placed = json.loads(index.read_bytes())["weight_map"]
        return [name for name in dict.fromkeys(placed.values()) if isinstance(name, str)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _together(folder: Path, group: dict[str, Path], configs: Sequence[Path]) -> Path:
    """A folder in which uploaded files have their own names, which are no paths."""
    folder.mkdir(exist_ok=True)
    for name, path in [*group.items(), *((_CONFIG, path) for path in configs[:1])]:
        if not (folder / name).exists():
            os.link(path, folder / name)
    return folder
