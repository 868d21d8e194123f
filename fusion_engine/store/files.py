"""Writing files so that a reader sees either nothing or the whole of them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fusion_engine.core.errors import StoreError
from fusion_engine.core.files import atomic_path

__all__ = [
    "append_line",
    "publish",
    "read_json",
    "read_lines",
    "staged_files",
    "staged_folder",
    "write_bytes",
    "write_json",
]


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a temporary file beside it, then os.replace."""
    publish({path: content})


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically. Not-a-number becomes a ValueError: JSON has none."""
    write_bytes(path, json.dumps(value, indent=1, allow_nan=False).encode())


def read_json(path: Path, what: str) -> Any:
    """The JSON in `path`; StoreError naming `what` if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{what} is not in the store; it may have been deleted") from None
    except (OSError, ValueError):
        raise StoreError(f"{what} in the store is damaged; delete it and make it again") from None


def read_lines(path: Path) -> list[Any]:
    """The values in a file of one JSON object a line; none if there is no file. A line cut short is left out."""
    values = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                values.append(json.loads(line))
    return values


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, so that concurrent readers never see two halves mixed. A line that was cut
    short when its writer was killed stays by itself."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" * cut + line.encode() + b"\n")
    finally:
        os.close(descriptor)


def publish(contents: Mapping[Path, bytes]) -> None:
    """Write several files: all contents reach the disk first, then each takes its name; on an error none."""
    with ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(atomic_path(path)).write_bytes(content)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well and vanishes when it does not.

    If `target` exists already it stays as it is: what is named by its content needs no second writing.
    """
    stage = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    stage.mkdir(parents=True)
    try:
        yield stage
        try:
            os.rename(stage, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder` whose files move into `folder` when the block ends well."""
    stage = folder / f".staged-{secrets.token_hex(4)}"
    stage.mkdir(mode=0o700)
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
