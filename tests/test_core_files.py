"""core.files: atomic writes and checked archives. (What readers make of them is tested with the readers.)"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from fusion_engine.core.errors import DataError, UnsafeFileError
from fusion_engine.core.files import atomic_path, check_file, open_archive


def test_atomic_path_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:  # noqa: PT012 - the block is the test
        temporary.write_text("half of tw")
        raise RuntimeError
    assert target.read_text() == "one"
    assert list(target.parent.iterdir()) == [target]


def test_atomic_files_have_the_usual_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_check_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert check_file(tmp_path / "a", 5) == tmp_path / "a"
    with pytest.raises(UnsafeFileError, match="more than the limit"):
        check_file(tmp_path / "a", 4)
    with pytest.raises(DataError, match="b: there is no such file"):
        check_file(tmp_path / "b", error=DataError)
    with pytest.raises(DataError, match="no such file"):
        check_file(tmp_path, error=DataError)


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("photos/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeFileError, match="leaves its folder"), open_archive(tmp_path / "a.zip"):
        pass


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"content")
    path.write_bytes(path.read_bytes().replace(b"content", b"c0ntent"))
    with pytest.raises(DataError, match=r"a\.zip: the archive is damaged"), open_archive(path, error=DataError) as a:
        a.read("a")
