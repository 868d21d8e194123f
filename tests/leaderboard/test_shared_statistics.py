from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_engine import fuse
from fusion_engine.core.errors import Cancelled
from fusion_engine.stats import StatisticsCache

KMEANS = {"importance": "conductance", "grouping": "kmeans", "solver": "average"}
SOLVED = {**KMEANS, "solver": "least_squares"}
PAIRED = {**SOLVED, "grouping": "balanced"}


def same(one, other) -> bool:
    return all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def what(result) -> list[str]:
    return [entry["what"] for entry in result.report["shared"]]


@pytest.mark.parametrize("recipe", [KMEANS, SOLVED, PAIRED], ids=["average", "least_squares", "balanced"])
def test_a_hit_changes_no_bit(recipe: dict, vggs, digits, tmp_path: Path) -> None:
    plain = fuse(vggs, digits, recipe)
    first = fuse(vggs, digits, recipe, cache=StatisticsCache(tmp_path))
    second = fuse(vggs, digits, recipe, cache=StatisticsCache(tmp_path))  # as another process: from the folder alone
    assert same(plain, first)
    assert same(plain, second)
    assert "importance of " + vggs[0].name not in what(first)
    assert {"joint moments", *(f"importance of {p.name}" for p in vggs)} <= set(what(second))


def test_solvers_and_groupings_share(vggs, digits, tmp_path: Path) -> None:
    """What an average has computed serves least squares with another grouping, and the other way round."""
    for name, (one, other) in {"a": (KMEANS, PAIRED), "b": (PAIRED, KMEANS)}.items():
        fuse(vggs, digits, one, cache=StatisticsCache(tmp_path / name))
        again = fuse(vggs, digits, other, cache=StatisticsCache(tmp_path / name))
        assert "joint moments" in what(again)
        assert same(again, fuse(vggs, digits, other))


def test_what_was_reused_is_in_the_report(vggs, digits, tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path)
    first, second = (fuse(vggs, digits, KMEANS, cache=cache).report for _ in range(2))
    assert first["shared"] == []
    assert first["seconds"]["shared"] == 0
    assert {"trace", "joint moments"} < {entry["what"] for entry in second["shared"]}
    assert second["seconds"]["shared"] == pytest.approx(sum(e["seconds"] for e in second["shared"]), abs=1e-3)
    assert second["seconds"]["shared"] > 0


def test_other_inputs_are_computed_anew(mlps, vggs, digits, tmp_path: Path) -> None:
    cache = StatisticsCache(tmp_path)
    fuse(mlps, digits, KMEANS, cache=cache)
    assert what(fuse(mlps, digits.subset(list(range(0, 100, 2))), KMEANS, cache=cache)) == []
    other = fuse(mlps, digits, {**KMEANS, "importance": {"method": "conductance", "n_steps": 3}}, cache=cache)
    assert "joint moments" in what(other)
    assert not any("importance" in line for line in what(other))
    assert "importance of b" in what(fuse(mlps[::-1], digits, KMEANS, cache=cache))


@pytest.mark.parametrize("damage", ["cut", "flip", "swap", "empty"])
def test_a_damaged_file_is_computed_again(damage: str, mlps, digits, tmp_path: Path) -> None:
    plain = fuse(mlps, digits, SOLVED, cache=StatisticsCache(tmp_path))
    files = sorted(tmp_path.glob("*.npz"))
    contents = [file.read_bytes() for file in files]
    for i, file in enumerate(files):
        content = bytearray(contents[i])
        if damage == "cut":
            content = content[: len(content) // 2]
        elif damage == "flip":
            content[-len(content) // 3] ^= 1
        elif damage == "swap":
            content = bytearray(contents[i - 1])
        else:
            content.clear()
        file.write_bytes(content)
    again = fuse(mlps, digits, SOLVED, cache=StatisticsCache(tmp_path))
    assert same(plain, again)
    assert what(again) == []
    assert "joint moments" in what(fuse(mlps, digits, SOLVED, cache=StatisticsCache(tmp_path)))


def test_memory_is_bounded() -> None:
    cache = StatisticsCache(memory_mb=1)
    for i in range(8):
        with cache.claim(str(i)) as claim:
            claim.keep({"x": np.zeros(2**15)}, {"all": 1.0})  # 256 KiB
    assert [cache.find(str(i)) is not None for i in range(8)] == [False] * 4 + [True] * 4


def test_kept_arrays_cannot_be_changed() -> None:
    cache = StatisticsCache()
    with cache.claim("k") as claim:
        claim.keep({"x": np.zeros(3)}, {})
    found = cache.find("k")
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["x"][0] = 1


def test_others_wait_for_who_computes(tmp_path: Path) -> None:
    started, found = threading.Event(), []

    def slow() -> None:
        with StatisticsCache(tmp_path).claim("k") as claim:
            assert claim.found is None
            started.set()
            time.sleep(0.2)
            claim.keep({"x": np.arange(3)}, {"all": 0.2})

    thread = threading.Thread(target=slow)
    thread.start()
    started.wait(10)
    with StatisticsCache(tmp_path).claim("k") as claim:
        found.append(claim)
    thread.join()
    assert found[0].found is not None
    assert found[0].found.arrays["x"].tolist() == [0, 1, 2]
    assert found[0].waited > 0


def test_what_was_computed_between_look_and_lock_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.stats import cache

    locked = cache._locked

    def after_another(path: Path, tick):
        monkeypatch.setattr(cache, "_locked", locked)
        with StatisticsCache(tmp_path).claim("k") as other:
            other.keep({"x": np.arange(3)}, {})
        return locked(path, tick)

    monkeypatch.setattr(cache, "_locked", after_another)
    with StatisticsCache(tmp_path).claim("k") as claim:
        assert claim.found is not None
        assert claim.found.arrays["x"].tolist() == [0, 1, 2]


def test_waiting_can_be_cancelled_and_a_failure_frees_the_claim(tmp_path: Path) -> None:
    def stop() -> None:
        raise Cancelled

    with StatisticsCache(tmp_path).claim("k"), pytest.raises(Cancelled), StatisticsCache(tmp_path).claim("k", stop):
        pass
    with pytest.raises(ZeroDivisionError), StatisticsCache(tmp_path).claim("k"):
        raise ZeroDivisionError
    with StatisticsCache(tmp_path).claim("k", stop) as claim:
        assert claim.found is None
