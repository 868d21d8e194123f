"""Arrays that were expensive to compute, kept by the digest of everything they depend on: in memory, and in a folder
that several processes share."""

import contextlib
import hashlib
import io
import json
import os
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from ..core.files import atomic_path

_POLL_SECONDS = 0.05
_OBJECTS = 16  # objects that live in memory alone (traces, checks of parents): a few sets of parents
T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """Read-only arrays by name, and the seconds that computing them took, by part."""

    arrays: Mapping[str, np.ndarray]
    seconds: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass
class Claim:
    """What is known under a key. `keep` is for whoever finds nothing and computes it."""

    found: Stored | None
    waited: float
    _keep: Callable[[Stored], None]

    def keep(self, arrays: Mapping[str, np.ndarray], seconds: Mapping[str, float]) -> None:
        """Put what was computed into the cache. The arrays become read-only."""
        for array in arrays.values():
            array.flags.writeable = False
        self._keep(Stored(dict(arrays), dict(seconds)))


class StatisticsCache:
    """Arrays by key, the most recently used in memory and all of them in `folder`, where one is given.

    folder_mb: above that the files that were not used for longest go; None keeps all.

    A file begins with the digest of its contents, and holds its key: one that is damaged or in the wrong place is taken
    for missing. While one process computes a key the others wait for it; a lock ends with the process that holds it.
    """

    def __init__(self, folder: str | Path | None = None, memory_mb: int = 256, folder_mb: int | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._limit = memory_mb * 2**20
        self._folder_limit = None if folder_mb is None else folder_mb * 2**20
        self._memory: OrderedDict[str, Stored] = OrderedDict()
        self._objects: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()

    def find(self, key: str) -> Stored | None:
        """What is known under `key`; None if nothing is, or what is in the folder cannot be trusted."""
        found = self._memory.get(key)
        if found is not None:
            self._memory.move_to_end(key)
            return found
        path = None if self._folder is None else self._folder / f"{key}.npz"
        found = None if path is None else _read(path, key)
        if path is not None and found is not None:
            with contextlib.suppress(OSError):
                os.utime(path)  # used now
            self._remember(key, found)
        return found

    @contextmanager
    def claim(self, key: str, tick: Callable[[], None] = lambda: None) -> Iterator[Claim]:
        """What is known under `key`, or the task of computing it: the caller then computes inside the block and calls
        `keep`. Waits while another process does; tick is called meanwhile and may raise."""
        found = self.find(key)
        if found is not None or self._folder is None:
            yield Claim(found, 0.0, lambda stored: self._remember(key, stored))
            return
        began = time.perf_counter()
        with _locked(self._folder / f"{key}.lock", tick) as contended:
            waited = time.perf_counter() - began if contended else 0.0
            # Another process may have been done between our look and our lock, too.
            yield Claim(self.find(key), waited, lambda stored: self._put(key, stored))

    def once(self, key: Hashable, compute: Callable[[], T]) -> tuple[T, float | None]:
        """compute() and None the first time; its result again, and the seconds it took, after that. In memory only."""
        if key in self._objects:
            self._objects.move_to_end(key)
            value, seconds = self._objects[key]
            return value, seconds
        began = time.perf_counter()
        value = compute()
        self._objects[key] = value, time.perf_counter() - began
        while len(self._objects) > _OBJECTS:
            self._objects.popitem(last=False)
        return value, None

    def _put(self, key: str, stored: Stored) -> None:
        assert self._folder is not None
        _write(self._folder / f"{key}.npz", key, stored)
        if self._folder_limit is not None:
            _prune(self._folder, self._folder_limit)
        self._remember(key, stored)

    def _remember(self, key: str, stored: Stored) -> None:
        self._memory[key] = stored
        self._memory.move_to_end(key)
        while len(self._memory) > 1 and sum(kept.bytes for kept in self._memory.values()) > self._limit:
            self._memory.popitem(last=False)


@contextmanager
def _locked(path: Path, tick: Callable[[], None]) -> Iterator[bool]:
    """Hold a lock file; yields whether somebody else held it before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, contended = FileLock(path, mode=0o600), False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_SECONDS * contended, poll_interval=_POLL_SECONDS)
        except Timeout:
            contended = True
            tick()
    try:
        yield contended
    finally:
        lock.release()


def _write(path: Path, key: str, stored: Stored) -> None:
    buffer = io.BytesIO()
    about = np.array(json.dumps({"key": key, "seconds": dict(stored.seconds)}))
    arrays: dict[str, Any] = {f"a/{name}": array for name, array in stored.arrays.items()}
    np.savez(buffer, about=about, **arrays)
    content = buffer.getbuffer()
    with atomic_path(path) as part, part.open("wb") as file:
        file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)


def _prune(folder: Path, limit: int) -> None:
    """Delete the files (with their locks) that were not used for longest, until the others fit in `limit` bytes."""
    known = []
    for path in folder.glob("*.npz"):
        with contextlib.suppress(OSError):  # another process deletes as well
            about = path.stat()
            known.append((about.st_mtime, about.st_size, path))
    size = 0
    for _, bytes_, path in sorted(known, reverse=True):
        size += bytes_
        if size > limit:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


def _read(path: Path, key: str) -> Stored | None:
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
        if digest != hashlib.sha256(content).hexdigest().encode():
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            arrays = {name[2:]: archive[name] for name in archive.files if name.startswith("a/")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if about["key"] != key:
        return None
    for array in arrays.values():
        array.flags.writeable = False
    return Stored(arrays, about["seconds"])
