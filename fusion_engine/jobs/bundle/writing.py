"""Writing a bundle."""

import contextlib
import json
import time
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fusion_engine import __version__, store
from fusion_engine.core.errors import StoreError
from fusion_engine.core.files import atomic_path
from fusion_engine.core.progress import Listener, Progress, no_progress
from fusion_engine.store.files import unwritable

from ..inputs import BUILT_IN
from . import layout
from .layout import Manifest

_DATA_ARGUMENTS = ("data", "test", "held_out")


def export_bundle(
    target: str | Path,
    parents: str | None = None,
    runs: Sequence[str] | None = None,
    *,
    with_parents: bool = True,
    with_data: bool = True,
    on_progress: Listener = no_progress,
) -> Manifest:
    """Write a bundle of some runs, or of all finished ones about a parent set, with the parents and data they are of.

    parents: the id of a parent set. runs: ids; None: all finished ones of `parents` that can be shared. with_parents,
    with_data: whether their files go along; else they go by digest, and whoever imports the bundle needs them already.
    Of changed recipes and edits that addresses name, those of the runs go along; selections of neurons do not. A run
    that was made from another one that is gone is exported as one made anew. The file appears whole or not at all.
    StoreError in one line for runs that are not finished or of a kind that is not shared, and where there is nothing to
    export.
    """
    chosen = _runs(parents, runs)
    sets = list(dict.fromkeys(filter(None, (parents, *map(_parents_of, chosen), *map(_base_of, chosen)))))
    data = list(dict.fromkeys(name for run in chosen for name in _data_of(run)))
    if not sets:
        raise StoreError("there is nothing to export: choose a parent set, or runs")
    manifest: Manifest = {
        "format": layout.FORMAT, "version": layout.VERSION, "program": __version__, "created": time.time(),
        "parents": [
            {"id": one, "name": store.read_parents_summary(one)["name"], "files": with_parents} for one in sets
        ],
        "data": [{"id": one, "name": store.read_data_summary(one)["name"], "files": with_data} for one in data],
        "runs": [run["id"] for run in chosen],
    }  # fmt: skip
    progress = Progress.to(on_progress).part(0.0, 1.0, "export")
    try:
        with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            _write(archive, layout.MANIFEST, json.dumps(manifest, indent=1).encode())
            for one in sets:
                progress.report(0.1, "Parents")
                _set(archive, "parents", one, store.read_parents_summary(one), store.parent_paths(one) * with_parents)
                _labels(archive, one)
            for one in data:
                progress.report(0.3, "Data")
                _set(archive, "data", one, store.read_data_summary(one), [store.data_path(one)] * with_data)
            for number, run in enumerate(chosen):
                progress.report(0.4 + 0.6 * number / len(chosen), f"Run {number + 1} of {len(chosen)}")
                _run(archive, run, manifest["runs"])
            _texts(archive, chosen)
    except OSError as problem:
        raise unwritable(problem) from problem
    progress.report(1.0, "done")
    return manifest


def shareable(parents: str) -> list[Any]:
    """The finished runs about a parent set that a bundle can hold, newest first."""
    return [run for run in store.list_runs() if _parents_of(run) == parents and _shared(run) and _whole(run)]


def _shared(run: Any) -> bool:
    return run["kind"] in layout.SHARED_KINDS and run["state"] == "done"


def _whole(run: Any) -> bool:
    """Whether what a run cannot be read without is still here."""
    about, base = run["arguments"].get("run"), _base_of(run)
    try:
        if base is not None:
            store.read_parents_summary(base)
    except StoreError:
        return False
    return about is None or _there(about)


def _runs(parents: str | None, runs: Sequence[str] | None) -> list[Any]:
    """The runs themselves, and those that they are about."""
    if runs is None:
        newest = shareable(parents)[:layout.MOST_RUNS] if parents else []
        ids = {None, *(run["id"] for run in newest)}
        return [run for run in newest if run["arguments"].get("run") in ids]
    found: dict[str, Any] = {}
    run: dict[str, Any]
    waiting = list(dict.fromkeys(runs))
    while waiting:
        one = waiting.pop(0)
        run = {**store.read_job(one), **store.read_status(one)}
        if not _shared(run):
            raise StoreError(f"run {one} cannot be exported: it is not finished, or of a kind that is made again")
        if not _whole(run):
            raise StoreError(f"run {one} cannot be exported: the run that it is about, or its base model, is gone")
        found[one] = run
        about = [run["arguments"].get(name) for name in ("run", "from_run")]
        waiting += [other for other in about if other and other not in found and _there(other)]
    return list(found.values())


def _there(run: str) -> bool:
    try:
        return _shared({**store.read_job(run), **store.read_status(run)})
    except StoreError:
        return False


def _parents_of(run: Any) -> str | None:
    """The parent set that a run is about; of one about another run that one's."""
    seen = set[Any]()
    while not run["arguments"].get("parents"):
        about = run["arguments"].get("run")
        if not isinstance(about, str) or about in seen:
            return None
        seen.add(about)
        try:
            run = store.read_job(about)
        except StoreError:
            return None
    return str(run["arguments"]["parents"])


def _base_of(run: Any) -> str | None:
    """The parent set of a run's base model."""
    base = run["arguments"].get("base")
    return str(base).partition(".")[0] if base else None


def _data_of(run: Any) -> Iterable[str]:
    """The data sets of the store that a run names."""
    named = (run["arguments"].get(name) for name in _DATA_ARGUMENTS)
    return [one for one in named if one and one not in BUILT_IN]


def _set(archive: zipfile.ZipFile, kind: str, digest: str, summary: Any, files: Sequence[Path]) -> None:
    _write(archive, f"{kind}/{digest}/summary.json", json.dumps(summary, indent=1).encode())
    for path in files:
        archive.write(path, f"{kind}/{digest}/{path.name}", zipfile.ZIP_STORED)  # weights hardly shrink


def _labels(archive: zipfile.ZipFile, parents: str) -> None:
    path = store.folder("labels") / f"{parents}.json"
    if path.is_file():
        archive.write(path, f"labels/{parents}.json")


def _run(archive: zipfile.ZipFile, run: Any, exported: Sequence[str]) -> None:
    """A run's results; how it ended under one name, whichever attempt it was."""
    at = f"runs/{run['id']}"
    job = {name: run[name] for name in ("id", "kind", "arguments", "created")}
    if job["arguments"].get("from_run") not in (None, *exported):  # gone; the same fusion is made without it
        job["arguments"] = {name: value for name, value in job["arguments"].items() if name != "from_run"}
    _write(archive, f"{at}/job.json", json.dumps(job, indent=1).encode())
    end = {name: run[name] for name in ("state", "started", "ended")}
    _write(archive, f"{at}/end.json", json.dumps(end, indent=1).encode())
    for path in sorted(store.run_folder(run["id"]).iterdir()):
        if path.is_file() and layout.RESULT.fullmatch(path.name) and path.name not in (*layout.LEFT_OUT, "job.json"):
            archive.write(path, f"{at}/{path.name}")


def _texts(archive: zipfile.ZipFile, runs: Sequence[Any]) -> None:
    """The kept recipes and edits that these runs have, and nothing else of the store."""
    wanted: dict[str, set[str]] = {"recipe": set(), "edits": set()}
    for run in runs:
        recipe, edits = run["arguments"].get("recipe"), run["arguments"].get("edits")
        if isinstance(recipe, dict):
            without = {name: value for name, value in recipe.items() if name != "edits"}
            wanted["recipe"] |= {_plain(recipe), _plain(without), _plain({**without, "edits": []})}
            edits = edits or recipe.get("edits")
        if edits:
            wanted["edits"].add(_plain(edits))
    for kind, texts in wanted.items():
        paths = [path for path in store.folder(kind).iterdir() if texts and not path.name.startswith(".")]
        for path in sorted(paths, key=lambda path: -path.stat().st_mtime)[:layout.MOST_KEPT]:
            with contextlib.suppress(ValueError):
                if _plain(json.loads(path.read_bytes())) in texts:
                    archive.write(path, f"kept/{kind}/{path.name}")


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(name, content)
