"""Writing files so that a reader sees either nothing or the whole of them."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fusion_engine.core.errors import StoreError
from fusion_engine.core.files import atomic_path


def unwritable(problem: OSError) -> StoreError:
    """What is said where the disk is full, over a quota, or refuses to be written."""
    reason = problem.strerror or type(problem).__name__
    return StoreError(f"the store cannot be written ({reason}); free space, or choose another folder with FUSION_HOME")


@contextmanager
def writing() -> Iterator[None]:
    """Around writes to the store: an OSError becomes a StoreError of one line."""
    try:
        yield
    except OSError as problem:
        raise unwritable(problem) from problem


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
    with writing(), open(path, "a+b", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        size = os.fstat(file.fileno()).st_size
        cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" * cut + line.encode() + b"\n")


def publish(contents: Mapping[Path, bytes]) -> None:
    """Write several files: all contents reach the disk first, then each takes its name; on an error none."""
    with writing(), ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(atomic_path(path)).write_bytes(content)


def create_once(path: Path, content: bytes) -> bool:
    """Write a file that no other process has written: whole, by a hard link, which the first one makes and all others
    fail at, on shared file systems too. Whether this was the first."""
    with writing(), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as part:
        part.write(content)
        part.flush()
        try:
            return linked(Path(part.name), path)
        except OSError as problem:
            if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise
        with contextlib.suppress(FileExistsError):  # a file system without hard links
            return path.open("xb").write(content) > 0
        return False


def linked(source: Path, target: Path) -> bool:
    """Give `source` a second name, unless `target` exists. Takes no space on the disk."""
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well and vanishes when it does not.

    If `target` exists already it stays as it is: what is named by its content needs no second writing.
    """
    stage = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with writing():
            stage.mkdir(parents=True, mode=0o700)
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
    with writing():
        stage.mkdir(mode=0o700)
    try:
        yield stage
        with writing():
            for file in sorted(stage.iterdir()):
                os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
