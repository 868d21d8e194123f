from __future__ import annotations

from pathlib import Path

import pytest

from fusion_engine import store
from fusion_engine.core.errors import StoreError, UnsafeFileError
from fusion_engine.store import uploads


def test_parent_sets_are_kept_by_digest() -> None:
    digest = store.content_digest(["a", "b"])
    assert digest != store.content_digest(["b", "a"])
    assert digest != store.content_digest(["ab"])
    writes = []

    def write(folder: Path) -> None:
        writes.append(folder)
        (folder / "parent_0.safetensors").write_bytes(b"0")

    for _ in range(2):
        store.save_parents(digest, write, {"id": digest, "parents": [{}, {}]})
    assert len(writes) == 1
    assert store.parent_paths(digest)[0].read_bytes() == b"0"
    assert [s["id"] for s in store.list_parents()] == [digest]
    store.delete_set("parents", digest)
    assert store.list_parents() == []
    with pytest.raises(StoreError, match="not in the store"):
        store.parent_paths(digest)


def test_data_sets() -> None:
    digest = store.content_digest(["x"])
    store.save_data(digest, lambda folder: (folder / "data.npz").write_bytes(b"z") and None, {"id": digest})
    assert store.data_path(digest).read_bytes() == b"z"
    assert [s["id"] for s in store.list_data()] == [digest]


def test_names_of_uploads_are_never_paths(home: Path) -> None:
    upload = store.save_upload(
        [("../../evil.pt", b"1"), ("C:\\x\\b.SAFETENSORS", b"2"), ("parents.json", b"{}"), ("labels-ubyte.gz", b"3")]
    )
    files = store.upload_files(upload)
    assert [name for name, _ in files] == ["evil.pt", "b.SAFETENSORS", "parents.json", "labels-ubyte.gz"]
    stored = [path.name for _, path in files]
    assert stored == ["file-0.pt", "file-1.safetensors", "parents.json", "labels-idx1-ubyte.gz"]
    assert all(path.parent == home / "uploads" / upload for _, path in files)
    assert [path.read_bytes() for _, path in files] == [b"1", b"2", b"{}", b"3"]
    store.remove_upload(upload)
    with pytest.raises(StoreError):
        store.upload_files(upload)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no file"),
        ([("a.pt", b"")] * 17, "too many"),
        ([("a.pt", b"12"), ("b.pt", b"345")], "larger than"),
        ([("run.py", b"")], "unknown kind"),
    ],
)
def test_uploads_are_checked_before_anything_is_written(
    files: list[tuple[str, bytes]], words: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOAD_BYTES", 4)
    with pytest.raises(UnsafeFileError, match=words):
        store.save_upload(files)
    assert not (home / "uploads").exists() or not list((home / "uploads").iterdir())


def test_a_long_name_keeps_its_ending() -> None:
    name = "x" * 200 + "-seed-7.safetensors"
    ((shown, path),) = store.upload_files(store.save_upload([(name, b"a")]))
    assert len(shown) == 120
    assert shown.endswith("x-seed-7.safetensors")
    assert path.suffix == ".safetensors"
