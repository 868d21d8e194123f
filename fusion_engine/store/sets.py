"""Parent sets and data sets, each in a folder named by the digest of its content."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from .files import read_json, staged_folder, write_json
from .home import check_digest, folder
from .shapes import DataSummary, ParentsSummary

T = TypeVar("T")


def content_digest(parts: Iterable[str]) -> str:
    """The id of a set: 32 hex digits of a sha256 over `parts` (the digests and names of what is in it)."""
    text = "\0".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def save_parents(digest: str, write: Callable[[Path], None], summary: ParentsSummary) -> None:
    """Keep a parent set. `write` puts parent_0.safetensors, ... into the folder it is given."""
    _save("parents", check_digest(digest, "parent set"), write, summary)


def save_data(digest: str, write: Callable[[Path], None], summary: DataSummary) -> None:
    """Keep a data set. `write` puts data.npz into the folder it is given."""
    _save("data", check_digest(digest, "data set"), write, summary)


def _save(kind: str, digest: str, write: Callable[[Path], None], summary: Mapping[str, Any]) -> None:
    target = folder(kind) / digest
    if target.is_dir():
        return
    with staged_folder(target) as stage:
        write(stage)
        write_json(stage / "summary.json", summary)


def read_parents_summary(digest: str) -> ParentsSummary:
    """The summary of a parent set; StoreError if it is not there."""
    path = folder("parents") / check_digest(digest, "parent set") / "summary.json"
    return cast(ParentsSummary, read_json(path, "this parent set"))


def read_data_summary(digest: str) -> DataSummary:
    """The summary of a data set; StoreError if it is not there."""
    path = folder("data") / check_digest(digest, "data set") / "summary.json"
    return cast(DataSummary, read_json(path, "this data set"))


def parent_paths(digest: str) -> list[Path]:
    """The parents' files, in order; StoreError if the set is not there."""
    summary = read_parents_summary(digest)
    return [folder("parents") / digest / f"parent_{i}.safetensors" for i in range(len(summary["parents"]))]


def data_path(digest: str) -> Path:
    """The data set's .npz file; StoreError if it is not there."""
    read_data_summary(digest)
    return folder("data") / digest / "data.npz"


def list_parents(minimum: int = 2) -> list[ParentsSummary]:
    """Summaries of all parent sets, newest first. minimum: 1 for single models too, which serve as base models."""
    return [s for s in _list("parents", read_parents_summary) if len(s["parents"]) >= minimum]


def list_data() -> list[DataSummary]:
    """Summaries of all data sets, newest first."""
    return _list("data", read_data_summary)


def _list(kind: str, read: Callable[[str], T]) -> list[T]:
    paths = [p for p in folder(kind).glob("*/summary.json") if not p.parent.name.startswith(".")]
    paths.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    return [read(p.parent.name) for p in paths]


def delete_set(kind: str, digest: str) -> None:
    """Delete a set for good. kind: 'parents' or 'data'. A missing one is no error."""
    if kind not in ("parents", "data"):
        raise ValueError(f"unknown kind of set {kind!r}")
    shutil.rmtree(folder(kind) / check_digest(digest, kind), ignore_errors=True)
