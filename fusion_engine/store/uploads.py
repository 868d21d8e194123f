"""Files that came from a browser, on their way to becoming parents or data. Names never become paths."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_engine.core.errors import UnsafeFileError

from .files import read_json, staged_folder, write_bytes, write_json
from .home import check_id, folder, new_id

MAX_UPLOAD_BYTES = 2 * 1024**3
MAX_FILES = 16
LONGEST_NAME = 120
WEIGHTS = (
    "safetensors", "pt", "pth", "tar", "ckpt", "bin", "pt2", "pkl", "pickle", "model", "weights", "th", "t7", "sft",
    "zip", "json",
)
"""Endings of files that weights come in, which are told by their content."""

_SUFFIXES = {f".{ending}" for ending in WEIGHTS} | {".npz", ".zip"}


def save_upload(files: Sequence[tuple[str, bytes | memoryview]]) -> str:
    """Keep uploaded (name, content) pairs and return the upload's id, the argument of the import jobs.

    The content is stored as file-0.safetensors, file-1.pt, ...; the given names are kept for display only. A
    file named parents.json is metadata for the others. UnsafeFileError if there are too many files, they are
    too large together, or a file type is unknown.
    """
    if not files:
        raise UnsafeFileError("no file was given; choose at least one")
    if len(files) > MAX_FILES:
        raise UnsafeFileError(f"{len(files)} files are too many; choose at most {MAX_FILES}")
    if sum(len(content) for _, content in files) > MAX_UPLOAD_BYTES:
        limit = MAX_UPLOAD_BYTES // 1024**3
        raise UnsafeFileError(f"the files are larger than {limit} GiB together; choose fewer")
    entries = []
    for number, (name, _) in enumerate(files):
        shown = _cut(PurePosixPath(name.replace("\\", "/")).name)
        entries.append({"name": shown, "stored": _stored_name(shown, number)})
    upload = new_id()
    with staged_folder(folder("uploads") / upload) as stage:
        for entry, (_, content) in zip(entries, files, strict=True):
            write_bytes(stage / entry["stored"], bytes(content))
        write_json(stage / "upload.json", entries)
    return upload


def _cut(name: str) -> str:
    """A name to show, cut in the middle where it is long: its ending says what the file is, and often which."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 41]}…{name[-40:]}"


def _stored_name(shown: str, number: int) -> str:
    """One of a few fixed names, chosen by the kind of file; readers tell formats by them."""
    suffix = PurePosixPath(shown).suffix.lower()
    if shown == "parents.json":
        return shown
    if "ubyte" in shown or "idx" in shown:
        kind = "labels-idx1" if "label" in shown else "images-idx3"
        return f"{kind}-ubyte{'.gz' if suffix == '.gz' else ''}"
    if suffix not in _SUFFIXES:
        raise UnsafeFileError(
            f"{shown}: unknown kind of file; give weights (.safetensors, .pt, .pth, .ckpt, .bin, .pt2, a .zip of a "
            "folder), or data (.npz, .zip or IDX files)"
        )
    return f"file-{number}{suffix}"


def upload_files(upload: str) -> list[tuple[str, Path]]:
    """(name to show, path) of every file of an upload, parents.json included."""
    path = folder("uploads") / check_id(upload, "upload")
    entries: list[dict[str, Any]] = read_json(path / "upload.json", "this upload")
    return [(entry["name"], path / entry["stored"]) for entry in entries]


def remove_upload(upload: str) -> None:
    """Delete an upload once its content has been imported."""
    shutil.rmtree(folder("uploads") / check_id(upload, "upload"), ignore_errors=True)
