"""Reading and writing files with care: size limits before reading, checked archives, atomic writes."""

import lzma
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from .errors import FusionError, UnsafeFileError

DEFAULT_LIMIT: Final = 4 * 2**30
"""Largest file, and largest unpacked archive, that is read unless the caller says otherwise (bytes)."""

_MAX_ENTRIES: Final = 1_000_000

# zipfile lets what it meets in damaged files through as it comes: wrong names, short structures, odd compressions.
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, ValueError, EOFError, OSError, RuntimeError,
)


def check_file(
    path: str | os.PathLike[str], limit: int = DEFAULT_LIMIT, error: type[FusionError] = FusionError
) -> Path:
    """`path` as a Path if it is a non-empty regular file of at most `limit` bytes.

    Raises `error` for a missing or empty file and UnsafeFileError for one that is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise error(f"{path.name}: there is no such file")
    size = path.stat().st_size
    if size == 0:
        raise error(f"{path.name}: the file is empty")
    if size > limit:
        raise UnsafeFileError(f"{path.name}: {_mib(size)} is more than the limit of {_mib(limit)}")
    return path


def check_entries(archive: zipfile.ZipFile, name: str, limit: int = DEFAULT_LIMIT) -> None:
    """Raise UnsafeFileError if an archive unpacks to more than `limit` bytes or an entry leaves its folder.

    The sizes come from the archive's directory; zipfile never yields more bytes of an entry than it says there.
    """
    entries = archive.infolist()
    if len(entries) > _MAX_ENTRIES:
        raise UnsafeFileError(f"{name}: the archive has more than {_MAX_ENTRIES} entries")
    total = sum(entry.file_size for entry in entries)
    if total > limit:
        raise UnsafeFileError(f"{name}: unpacks to {_mib(total)}, more than the limit of {_mib(limit)}")
    seen = set()
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/"))
        is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
        if parts.is_absolute() or ".." in parts.parts or ":" in entry.filename or is_link:
            raise UnsafeFileError(f"{name}: an entry of the archive leaves its folder; the archive was not read")
        if entry.filename in seen:
            raise UnsafeFileError(f"{name}: two entries of the archive have the same name")
        if entry.flag_bits & 1:
            raise UnsafeFileError(f"{name}: the archive is encrypted; store it without a password")
        seen.add(entry.filename)


@contextmanager
def open_archive(
    path: Path, limit: int = DEFAULT_LIMIT, error: type[FusionError] = FusionError
) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose entries passed `check_entries`; damage met while reading becomes `error`."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_entries(archive, path.name, limit)
            yield archive
    except FusionError:
        raise
    except _DAMAGE as problem:
        raise error(f"{path.name}: the archive is damaged or cut short") from problem


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well and removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp creates files for the owner alone; give the result the mode a plain open() would.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
