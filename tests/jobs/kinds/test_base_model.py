"""A base model: imported alone, or one of a set's parents, and handed to a fusion."""

from __future__ import annotations

from pathlib import Path

from fusion_engine import store
from fusion_engine.demo import demo_files
from tests.jobs.job_runs import done, ended

RECIPE = {"solver": {"method": "ties", "density": 1.0}}


def imported(*paths: Path, **more: object) -> str:
    return str(store.read_result(done("import_parents", paths=[str(p) for p in paths], **more))["parents"])


def test_a_model_imported_alone_serves_as_base() -> None:
    first, *others = demo_files("mlp")
    base, parents = imported(first, base=True), imported(*others[:2])
    assert store.read_parents_summary(base)["name"] == first.stem
    assert [s["id"] for s in store.list_parents()] == [parents]
    arguments = {"parents": parents, "data": "digits:train", "samples": 40, "recipe": RECIPE}
    run = done("fuse", base=f"{base}.0", **arguments)
    assert store.read_report(run)["recipe"]["solver"]["method"] == "ties"
    _, status = ended("fuse", **arguments)
    assert "needs the base model" in status["error"]
    for reference in (f"{base}.1", base, f"{base}.x"):
        _, status = ended("fuse", base=reference, **arguments)
        assert status["error"] == "base must be a parent set's id, a dot and the number of one of its parents"


def test_several_files_are_no_base_model() -> None:
    paths = [str(p) for p in demo_files("mlp")[:2]]
    run, status = ended("import_parents", paths=paths, base=True)
    assert status["error"] == "a base model is one file, not 2"
    assert store.read_result(run)["parents"] is None
    _, status = ended("import_parents", paths=paths[:1])
    assert "2 to 8 parents, not 1" in status["error"]
