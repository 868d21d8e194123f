"""Bundles: what is exported here is the same in an empty store, and hostile ones change nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_runs import done, ended
from safetensors.numpy import load_file

from fusion_engine import store
from fusion_engine.core.errors import FusionError, StoreError
from fusion_engine.jobs.bundle import export_bundle, import_bundle, layout
from fusion_engine.store.files import write_json

Files = dict[str, bytes]
GONE = "20200101-000000-000-00000000"


@dataclass(frozen=True)
class Made:
    """A bundle of two fusions, and what they are in the store that it is of."""

    path: Path
    home: Path
    parents: str
    data: str
    runs: list[str]
    recipe: str
    files: Files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    home = tmp_path_factory.mktemp("elsewhere")
    before = os.environ.get("FUSION_HOME")
    os.environ["FUSION_HOME"] = str(home)
    try:
        parents = store.read_result(done("import_parents", demo="digits"))["parents"]
        rng = np.random.default_rng(0)
        buffer = io.BytesIO()
        np.savez(buffer, x=rng.integers(0, 255, (80, 1, 8, 8), dtype=np.uint8), y=np.arange(80) % 10)
        upload = store.save_upload([("mine.npz", buffer.getvalue())])
        data = store.read_result(done("import_data", upload=upload))["data"]
        changed = {"name": "kf_linear", "importance": "uniform", "grouping": {"method": "kmeans", "tries": 2},
                   "solver": "average", "edits": [{"edit": "merge", "space": "fc1", "neurons": ["0:1", "1:2"]}]}
        common = {"parents": parents, "data": data, "seed": 3}
        runs = [done("fuse", **common, test="digits:test", recipe=changed), done("fuse", **common, recipe="average")]
        said = {"name": "Mine", "note": "", "tags": ["a"], "changed": 1.0}
        write_json(store.run_folder(runs[0]) / "about.json", said)
        store.save_label(parents, "fc1", "edges", ["0:1"])
        recipe = store.keep_text("recipe", json.dumps(changed))
        store.keep_text("recipe", json.dumps({**changed, "importance": "conductance"}))  # of no run here
        store.keep_text("selection", "fc1 0:1")
        path = home / "project.zip"
        export_bundle(path, parents)
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        yield Made(path, home, parents, data, runs, recipe, files)
    finally:
        os.environ.pop("FUSION_HOME")
        if before is not None:
            os.environ["FUSION_HOME"] = before


def table(home: Path, runs: list[str]) -> list[Any]:
    """What tables of runs are drawn from."""
    folder = home / "runs"
    return [json.loads((folder / run / "report.json").read_text()) for run in runs]


def written(path: Path, files: Files, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(home: Path) -> set[str]:
    """What is in a store, but for empty folders."""
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_an_empty_store_has_the_same_table_and_fuses_to_the_same_weights(made: Made, home: Path) -> None:
    found = import_bundle(made.path)
    assert (found["parents"], found["data"], sorted(found["runs"])) == ([made.parents], [made.data], sorted(made.runs))
    assert table(home, made.runs) == table(made.home, made.runs)
    for run in made.runs:
        arguments = store.read_job(run)["arguments"]
        assert store.read_status(run)["state"] == "done"
        assert store.read_groupings(run)
        again = done("fuse", **arguments)
        here, there = (load_file(store.run_folder(one) / "fused.safetensors") for one in (again, run))
        assert here.keys() == there.keys()
        assert all(np.array_equal(here[name], there[name]) for name in here)
    assert json.loads((store.run_folder(made.runs[0]) / "about.json").read_text())["name"] == "Mine"
    assert store.read_labels(made.parents, "fc1")[0]["name"] == "edges"
    assert json.loads(store.read_text("recipe", made.recipe))["edits"]
    assert sorted(import_bundle(made.path)["there"]) == sorted([made.parents, made.data, *made.runs])


def test_only_what_the_runs_refer_to_goes_along(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert [name for name in made.files if name.startswith("kept/")] == [f"kept/recipe/{made.recipe}"]
    monkeypatch.setenv("FUSION_HOME", str(made.home))
    run = store.create_run("fuse", {**store.read_job(made.runs[1])["arguments"], "from_run": GONE})
    lost = store.create_run("analyse", {"parents": made.parents, "data": made.data, "run": GONE})
    try:
        for one in (run, lost):
            store.end_run(one, "done")
        export_bundle(tmp_path / "again.zip", made.parents)
        with zipfile.ZipFile(tmp_path / "again.zip") as archive:
            job = json.loads(archive.read(f"runs/{run}/job.json"))
            assert f"runs/{lost}/job.json" not in archive.namelist()
        assert "from_run" not in job["arguments"]
        with pytest.raises(StoreError, match="that it is about"):
            export_bundle(tmp_path / "lost.zip", runs=[lost])
    finally:
        for one in (run, lost):
            store.delete_run(one)


def test_by_digest_alone_the_store_must_have_them(
    made: Made, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setenv("FUSION_HOME", str(made.home))
        small = tmp_path / "small.zip"
        export_bundle(small, runs=[made.runs[1]], with_parents=False, with_data=False)
    assert small.stat().st_size < made.path.stat().st_size
    before = contents(home)
    with pytest.raises(StoreError, match=r"small\.zip: the bundle names the parent set .* by its digest alone"):
        import_bundle(small)
    assert contents(home) == before
    import_bundle(written(tmp_path / "sets.zip", without_runs(made.files)))
    assert import_bundle(small)["runs"] == [made.runs[1]]


def without_runs(files: Files) -> Files:
    manifest = json.loads(files["manifest.json"]) | {"runs": []}
    rest = {name: content for name, content in files.items() if not name.startswith("runs/")}
    return rest | {"manifest.json": json.dumps(manifest).encode()}


def test_the_jobs_do_the_same(made: Made, home: Path) -> None:
    upload = store.save_upload([("theirs.zip", made.path.read_bytes())])
    found = store.read_result(done("import_bundle", upload=upload))
    assert sorted(found["runs"]) == sorted(made.runs)
    run = done("export_bundle", parents=made.parents, with_data=True)
    assert store.result_path(run, "bundle.zip").stat().st_size > 0
    assert sorted(store.read_result(run)["runs"]) == sorted(made.runs)
    _, status = ended("import_bundle", upload=store.save_upload([("bad.zip", b"PK nothing")]))
    assert status["error"] == "bad.zip: the archive is damaged or cut short"


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/pwned",)


def objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([_Evil()], dtype=object))
    return buffer.getvalue()


def lying() -> bytes:
    """An array whose header says that it is much larger than it is."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr("a.npy", buffer.getvalue().replace(b"(3,)", b"(9,)"))
    return out.getvalue()


def changed(files: Files, name: str, change: Callable[[Any], Any]) -> Files:
    """The files with another JSON value in one of them."""
    value = json.loads(files[name])
    return {**files, name: json.dumps(change(value)).encode()}


HOSTILE: dict[str, tuple[Callable[[Made, str], Files], str]] = {
    "a path out": (lambda m, run: {**m.files, "../../evil": b""}, "leaves its folder"),
    "an absolute path": (lambda m, run: {**m.files, "/etc/evil": b""}, "leaves its folder"),
    "another file": (lambda m, run: {**m.files, "runs/evil.py": b""}, "does not belong into one"),
    "a file of another kind": (lambda m, run: {**m.files, f"runs/{run}/a.pkl": pickle.dumps(_Evil())}, "not belong"),
    "no manifest": (lambda m, run: {k: v for k, v in m.files.items() if k != "manifest.json"}, "no manifest"),
    "another manifest": (lambda m, run: {**m.files, "manifest.json": b"{}"}, "of something else"),
    "no JSON": (lambda m, run: {**m.files, "manifest.json": b"{"}, "not JSON"),
    "deep JSON": (lambda m, run: {**m.files, f"runs/{run}/x.json": b"[" * 9**5 + b"]" * 9**5}, "nested too deeply"),
    "a run too many": (
        lambda m, run: changed(m.files, "manifest.json", lambda v: v | {"runs": []}), "not those of its",
    ),
    "another kind": (
        lambda m, run: changed(m.files, f"runs/{run}/job.json", lambda v: v | {"kind": "train"}), "not a finished run",
    ),
    "an unknown argument": (
        lambda m, run: changed(m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {"paths": ["/etc"]}}),
        "argument 'paths'",
    ),
    "other data": (
        lambda m, run: changed(
            m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {**v["arguments"], "data": "../../etc"}}
        ), "data are not in the bundle",
    ),
    "a report of another shape": (
        lambda m, run: changed(m.files, f"runs/{run}/report.json", lambda v: v | {"seconds": "long"}), "no mapping",
    ),
    "no number": (lambda m, run: {**m.files, f"runs/{run}/report.json": b'{"seed": NaN}'}, "not JSON"),
    "pickled arrays": (lambda m, run: {**m.files, f"runs/{run}/groupings.npz": objects()}, "more than plain arrays"),
    "a lying array": (lambda m, run: {**m.files, f"runs/{run}/groupings.npz": lying()}, "not as large as it says"),
    "no weights": (lambda m, run: {**m.files, f"runs/{run}/fused.safetensors": b"x" * 99}, "not a safetensors file"),
    "other parents": (
        lambda m, run: {
            **m.files, f"parents/{m.parents}/parent_0.safetensors": m.files[f"parents/{m.parents}/parent_1.safetensors"]
        }, "it was changed",
    ),
    "a run about itself": (
        lambda m, run: changed(
            m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {**v["arguments"], "from_run": run}}
        ), "its from_run is no fusion",
    ),
    "another base": (
        lambda m, run: changed(
            m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {**v["arguments"], "base": f"{'0' * 32}.0"}}
        ), "base model is neither",
    ),
    "data that are a list": (
        lambda m, run: changed(
            m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {**v["arguments"], "data": []}}
        ), "data are not in the bundle",
    ),
    "parents that are a list": (
        lambda m, run: changed(
            m.files, f"runs/{run}/job.json", lambda v: v | {"arguments": {**v["arguments"], "parents": []}}
        ), "parents are not in the bundle",
    ),
    "a status of its own": (
        lambda m, run: {**m.files, f"runs/{run}/status.json": b'{"state": "running"}'}, "does not belong into a bundle",
    ),
    "a time after all times": (
        lambda m, run: changed(m.files, f"runs/{run}/job.json", lambda v: v | {"created": 1e300}), "created is no time",
    ),
    "a number of 400 digits": (
        lambda m, run: changed(m.files, f"runs/{run}/job.json", lambda v: v | {"created": 10**400}), "not JSON",
    ),
    "a number too large": (lambda m, run: {**m.files, f"runs/{run}/report.json": b'{"seed": 1e999}'}, "not JSON"),
    "a parent set without a summary": (
        lambda m, run: {k: v for k, v in m.files.items() if k != f"parents/{m.parents}/summary.json"},
        "summary is not in the bundle",
    ),
    "a data set without a summary": (
        lambda m, run: {k: v for k, v in m.files.items() if k != f"data/{m.data}/summary.json"},
        "summary is not in the bundle",
    ),
    "a broken recipe": (lambda m, run: {**m.files, f"runs/{run}/recipe.yaml": b"solver: [1"}, "not valid YAML"),
    "a text that is no recipe": (lambda m, run: {**m.files, f"kept/recipe/{'0' * 32}": b'{"a": 1}'}, "unknown key"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_bundle_is_a_line_and_changes_nothing(made: Made, home: Path, tmp_path: Path, name: str) -> None:
    make, line = HOSTILE[name]
    store.folder("scratch")
    before = contents(home)
    path = written(tmp_path / "bundle.zip", make(made, made.runs[0]), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(FusionError, match=line) as refused:
        import_bundle(path)
    assert "\n" not in str(refused.value)
    assert str(home) not in str(refused.value)
    assert str(refused.value).startswith("bundle.zip: ")
    assert contents(home) == before
    assert not list(store.folder("scratch").iterdir())


def test_what_unpacks_to_more_than_allowed_is_not_unpacked(
    made: Made, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = {**made.files, f"runs/{made.runs[0]}/x.json": b" " * 10**7}
    path = written(tmp_path / "bomb.zip", bomb, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(layout, "MOST_UNPACKED", 5 * 10**6)
    with pytest.raises(FusionError, match="more than the limit"):
        import_bundle(path)
    monkeypatch.undo()
    monkeypatch.setenv("FUSION_HOME", str(home))
    monkeypatch.setattr(layout, "MOST_ENTRIES", 5)
    with pytest.raises(FusionError, match="more than 5 files"):
        import_bundle(made.path)


def test_what_a_job_should_not_say_is_not_written(made: Made, home: Path, tmp_path: Path) -> None:
    run = made.runs[0]
    files = changed(made.files, f"runs/{run}/job.json", lambda v: v | {"attempt": "x", "owner": "me"})
    files = changed(files, f"runs/{run}/end.json", lambda v: v | {"more": 1})
    import_bundle(written(tmp_path / "more.zip", files))
    assert set(store.read_job(run)) == {"id", "kind", "arguments", "created", "owner"}
    assert store.read_job(run)["owner"] is None
    assert set(store.read_status(run)) == {"state", "started", "ended", "error"}
    assert {one["id"] for one in store.list_runs()} == set(made.runs)


def test_runs_about_each_other_are_of_no_parents(home: Path) -> None:
    from fusion_engine.jobs.bundle.writing import shareable

    run = store.create_run("embed", {})
    job = store.run_folder(run) / "job.json"
    write_json(job, {**json.loads(job.read_text()), "arguments": {"run": run}})
    assert shareable("0" * 32) == []


def test_arrays_together_unpack_to_no_more_than_allowed(
    made: Made, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def archive() -> bytes:
        np.savez_compressed(buffer := io.BytesIO(), x=np.zeros(3 * 10**6, np.uint8))
        return buffer.getvalue()

    files = {**made.files, **{f"runs/{run}/samples.npz": archive() for run in made.runs}}
    path = written(tmp_path / "many.zip", files)
    monkeypatch.setattr(layout, "MOST_UNPACKED", 5_000_000)
    with pytest.raises(StoreError, match="its arrays unpack to more"):
        import_bundle(path)


def test_a_disk_that_is_full_while_it_is_unpacked_is_called_that(
    made: Made, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.folder("scratch")
    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if mode != "wb":
            return opened(self, mode, *rest, **more)
        return opened(Path("/dev/full"), "wb", *rest, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StoreError, match="the store cannot be written"):
        import_bundle(made.path)


def test_a_leaderboard_of_an_earlier_version_has_the_shape_of_one() -> None:
    from fusion_engine.jobs.bundle.checks import check_shape
    from fusion_engine.leaderboard.shapes import Table

    check_shape({"entries": [], "references": [], "parents": [], "done": 0, "total": 0}, Table, "leaderboard.json")


def test_a_disk_that_fills_up_half_way_leaves_nothing(made: Made, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_engine.jobs.bundle import reading

    def full(self: Any, run: str) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(reading._Bundle, "_keep_run", full)
    with pytest.raises(StoreError, match="no space left"):
        import_bundle(made.path)
    assert not contents(home)


def test_what_cannot_be_exported_is_one_line(made: Made, home: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing to export"):
        export_bundle(tmp_path / "none.zip")
    run = store.create_run("fuse", {"parents": made.parents})
    with pytest.raises(StoreError, match="not finished"):
        export_bundle(tmp_path / "none.zip", runs=[run])
    assert not (tmp_path / "none.zip").exists()
