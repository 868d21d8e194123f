"""What one job has computed about parents and samples serves the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_engine import store
from fusion_engine.core.recipe import Recipe
from fusion_engine.jobs import statistics as kept
from tests.jobs.job_runs import done

GIVEN = {"data": "digits:train", "test": "digits:test", "samples": 100}


@pytest.fixture(autouse=True)
def fresh() -> None:
    kept._cache.cache_clear()


def fused(parents: str, **recipe: object) -> tuple[str, dict]:
    run = done("fuse", parents=parents, recipe=recipe, **GIVEN)
    return run, store.read_report(run)


def test_a_changed_recipe_computes_only_what_is_new() -> None:
    parents = str(store.read_result(done("import_parents", demo="digits"))["parents"])
    _, first = fused(parents, importance="conductance", grouping="kmeans", solver="average")
    kept._cache.cache_clear()  # as another worker: what is in the store's folder alone
    run, second = fused(parents, importance="conductance", grouping="spectral", solver="average")
    assert first["shared"] == []
    again = {part["what"] for part in second["shared"]}
    assert {"joint moments", "outputs of the references", "importance of parent_0"} <= again
    assert second["parents"] == first["parents"]
    assert second["ensemble"] == first["ensemble"]
    arrays = (store.run_folder(run) / "explore.npz").read_bytes()
    for path in store.folder("statistics").iterdir():
        path.unlink()
    kept._cache.cache_clear()
    alone, third = fused(parents, importance="conductance", grouping="spectral", solver="average")
    assert third["shared"] == []
    assert third["fused"] == second["fused"]
    assert (store.run_folder(alone) / "explore.npz").read_bytes() == arrays


def test_exploring_serves_fusing() -> None:
    parents = str(store.read_result(done("import_parents", demo="digits"))["parents"])
    step = Recipe.from_mapping({"importance": "conductance"}).importance.written()
    done("explore", parents=parents, data="digits:train", samples=100, importance=step, grouping="kmeans")
    _, report = fused(parents, importance=step, grouping="kmeans", solver="average")
    assert {"joint moments", "importance of parent_0"} <= {part["what"] for part in report["shared"]}


def test_the_folder_is_in_the_store(home: Path) -> None:
    done("import_parents", demo="digits")
    assert kept.statistics() is kept.statistics()
    assert (home / "statistics").is_dir()
