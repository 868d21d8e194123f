from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from fusion_engine.core.errors import StoreError
from fusion_engine.store import files


def test_publish_writes_all_or_nothing(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        files.publish({tmp_path / "a": b"new", tmp_path / "b": "not bytes"})  # type: ignore[dict-item]
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_staged_folder_appears_whole(tmp_path: Path) -> None:
    with files.staged_folder(tmp_path / "set") as stage:
        (stage / "x").write_text("1")
        assert not (tmp_path / "set").exists()
    assert (tmp_path / "set" / "x").read_text() == "1"


def test_staged_folder_vanishes_on_errors(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), files.staged_folder(tmp_path / "set") as stage:
        (stage / "x").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_set_is_left_as_it_is(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with files.staged_folder(tmp_path / "set") as stage:
            (stage / "x").write_text(text)
    assert (tmp_path / "set" / "x").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_staged_files_move_in_when_all_went_well(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), files.staged_files(tmp_path) as stage:
        (stage / "x").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with files.staged_files(tmp_path) as stage:
        (stage / "x").write_text("1")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_json_errors_name_the_thing_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for name, words in (("bad.json", "damaged"), ("none.json", "not in the store")):
        with pytest.raises(StoreError, match=words) as caught:
            files.read_json(tmp_path / name, "run 7")
        assert "run 7" in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_short_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert files.read_lines(path) == []
    files.append_line(path, '{"a": 1}')
    with path.open("a") as file:
        file.write('{"b": 2')
    assert files.read_lines(path) == [{"a": 1}]
    files.append_line(path, '{"c": 3}')
    assert files.read_lines(path) == [{"a": 1}, {"c": 3}]
