"""Reading a bundle: all of it is unpacked beside the store and judged; only then does the store change, or not at
all."""

import contextlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from fusion_engine import store
from fusion_engine.core.edits import read_edits
from fusion_engine.core.errors import FusionError, StoreError
from fusion_engine.core.files import check_file as check_size
from fusion_engine.core.files import open_archive
from fusion_engine.core.progress import Listener, Progress, no_progress
from fusion_engine.core.recipe import Recipe
from fusion_engine.data import load_data
from fusion_engine.leaderboard.shapes import Table
from fusion_engine.parents import Parent, load_parent
from fusion_engine.pipeline.shapes import Report
from fusion_engine.store.files import staged_folder, write_json, writing
from fusion_engine.store.shapes import About, DataSummary, Exploration, Label, ParentsSummary
from fusion_engine.tuning.shapes import SearchTable

from ..inputs import BUILT_IN
from ..kinds import KINDS
from ..kinds.import_data import data_summary
from ..kinds.import_parents import parents_digest, parents_summary
from . import checks, layout
from .layout import FinishedJob, FinishedRun, Imported, Manifest

_SHAPES: dict[str, Any] = {
    "report.json": Report, "explore.json": Exploration, "search.json": SearchTable, "leaderboard.json": Table,
    "about.json": About,
}
_WANTED = {
    "fuse": ("report.json", "recipe.yaml", "fused.safetensors", "groupings.npz"), "leaderboard": ("leaderboard.json",),
    "search": ("search.json",), "explore": ("explore.json", "explore.npz"), "analyse": ("result.json",),
    "embed": ("result.json", "embed.npz"), "evaluate": ("result.json",),
}
_LABELS = dict[str, list[Label]]
_MOST_TEXT = 2**20


def import_bundle(path: str | Path, *, name: str | None = None, on_progress: Listener = no_progress) -> Imported:
    """Bring what a bundle holds into the store. What is there already stays as it is.

    name: what messages call the file. Raises FusionError in one line for a file that is no bundle, is damaged, holds
    anything that it should not, or names parents or data by digest that this store has not; then nothing has changed.
    """
    path = Path(path)
    shown = name or path.name
    progress = Progress.to(on_progress).part(0.0, 1.0, "import")
    progress.report(0.0, "Checking the bundle")
    try:
        check_size(path, layout.MOST_BYTES, StoreError)
        with tempfile.TemporaryDirectory(dir=store.folder("scratch"), prefix="bundle-") as scratch:
            folder = Path(scratch)
            _unpack(path, folder)
            bundle = _Bundle(folder)
            bundle.check(progress.part(0.1, 0.8))
            progress.report(0.8, "Keeping it")
            return bundle.keep()
    except FusionError as error:
        line = str(error).removeprefix(f"{path.name}: ")
        raise type(error)(f"{shown}: {line}") from None


def _unpack(path: Path, folder: Path) -> None:
    """Every entry under its own name, which is one of the few forms that there are."""
    with open_archive(path, layout.MOST_UNPACKED, StoreError) as archive:
        entries = archive.infolist()
        if len(entries) > layout.MOST_ENTRIES:
            raise StoreError(f"the bundle has more than {layout.MOST_ENTRIES:,} files")
        if layout.MANIFEST not in (entry.filename for entry in entries):
            raise StoreError("this is no bundle: it has no manifest.json")
        for entry in entries:
            if not layout.ENTRY.fullmatch(entry.filename):
                raise StoreError(f"the bundle has a file that does not belong into one ({entry.filename!r:.60})")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise StoreError("the bundle is compressed in a way that is not read")
        for entry in entries:
            target = folder / entry.filename
            with writing():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch(exist_ok=False)
            with archive.open(entry) as source, target.open("wb", buffering=0) as file:
                while chunk := source.read(2**20):
                    with writing():  # a full disk is no damage of the archive
                        while chunk:
                            chunk = chunk[file.write(chunk):]


class _Bundle:
    """An unpacked bundle: what is found while it is checked, and then kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parents: dict[str, tuple[list[Parent], ParentsSummary]] = {}
        self._data: dict[str, DataSummary] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        self._texts: list[tuple[Any, str]] = []
        self._labels: dict[str, Any] = {}
        manifest = checks.read_json((folder / layout.MANIFEST).read_bytes(), "its manifest")
        if not isinstance(manifest, dict) or manifest.get("format") != layout.FORMAT:
            raise StoreError("this is no bundle: its manifest is of something else")
        if manifest.get("version") != layout.VERSION:
            raise StoreError("this bundle is of another version of the program; export it again with this one")
        checks.check_shape(manifest, Manifest, "its manifest")
        self._manifest = cast(Manifest, manifest)

    def check(self, progress: Progress) -> None:
        """FusionError in one line where anything is not as it should be."""
        there = {found.relative_to(self._folder).as_posix() for found in self._folder.rglob("*") if found.is_file()}
        matches = [match for entry in there if (match := layout.ENTRY.fullmatch(entry))]
        for kind in ("parents", "data"):
            named = {entry["id"] for entry in self._manifest[kind]}
            if {match[kind] for match in matches if match[kind]} != named:
                raise StoreError(f"its {kind} are not those of its manifest")
        if {match["run"] for match in matches if match["run"]} != set(self._manifest["runs"]):
            raise StoreError("its runs are not those of its manifest")
        if len(self._manifest["runs"]) > layout.MOST_RUNS:
            raise StoreError(f"it has more than {layout.MOST_RUNS:,} runs")
        for match in matches:
            if match["result"] in layout.LEFT_OUT:
                raise StoreError(f"run {match['run']}: {match['result']} does not belong into a bundle")
        nested = sum(checks.unpacked(path) for path in self._folder.rglob("*.npz"))
        if nested > layout.MOST_UNPACKED:
            raise StoreError(f"its arrays unpack to more than {layout.MOST_UNPACKED // 2**30} GiB together")
        for entry in self._manifest["parents"]:
            progress.report(0.1, "Checking parents")
            self._check_parents(entry["id"], entry["files"])
        for entry in self._manifest["data"]:
            progress.report(0.3, "Checking data")
            self._check_data(entry["id"], entry["files"])
        for number, run in enumerate(self._manifest["runs"]):
            progress.report(0.4 + 0.5 * number / len(self._manifest["runs"]), "Checking runs")
            self._check_run(run)
        for run in self._manifest["runs"]:
            self._check_references(run)
        for match in matches:
            if match["text"]:
                self._check_text(match["kind"], match["text"])
            elif match["labels"]:
                self._check_labels(match["labels"])

    def _check_parents(self, digest: str, files: bool) -> None:
        folder = self._folder / "parents" / digest
        summary: ParentsSummary = _summary(folder, "a parent set's summary")
        checks.check_shape(summary, ParentsSummary, "a parent set's summary")
        weights = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem.rpartition("_")[2]))
        wanted = [f"parent_{i}.safetensors" for i in range(len(summary["parents"]))] if files else []
        if [path.name for path in weights] != wanted:
            raise StoreError("a parent set's files are not those of its summary")
        names = [entry["name"] for entry in summary["parents"]]
        if not files:
            _needed("parent set", summary["name"], digest, store.read_parents_summary, ", ".join(names))
            return
        if not weights or any(not 0 < len(one) <= 200 or not one.isprintable() for one in [*names, summary["name"]]):
            raise StoreError("a parent set has no parents, or names that are no names")
        parents = [replace(load_parent(path), name=one) for path, one in zip(weights, names, strict=True)]
        if parents_digest(parents) != digest:
            raise StoreError(f"the parent set {summary['name']!r:.60} is not what its digest says; it was changed")
        made = parents_summary(parents, summary["name"], digest)
        self._parents[digest] = parents, {**made, "created": summary["created"]}

    def _check_data(self, digest: str, files: bool) -> None:
        folder = self._folder / "data" / digest
        summary: DataSummary = _summary(folder, "a data set's summary")
        checks.check_shape(summary, DataSummary, "a data set's summary")
        if (folder / "data.npz").is_file() != files:
            raise StoreError("a data set's files are not those of its summary")
        if not files:
            _needed("data set", summary["name"], digest, store.read_data_summary, summary["name"])
            return
        if not 0 < len(summary["name"]) <= 200 or not summary["name"].isprintable():
            raise StoreError("a data set has a name that is no name")
        data = load_data(folder / "data.npz", y_required=False)
        if store.content_digest([data.digest]) != digest:
            raise StoreError(f"the data set {summary['name']!r:.60} is not what its digest says; it was changed")
        self._data[digest] = {**data_summary(data, summary["name"], digest), "created": summary["created"]}

    def _check_run(self, run: str) -> None:
        folder = self._folder / "runs" / run
        what = f"run {run}"
        for file in ("job.json", "end.json"):
            if not (folder / file).is_file():
                raise StoreError(f"{what}: it has no {file}")
        job = checks.read_json((folder / "job.json").read_bytes(), what)
        checks.check_shape(job, FinishedJob, what)
        end = checks.read_json((folder / "end.json").read_bytes(), what)
        checks.check_shape(end, FinishedRun, what)
        if job["id"] != run or job["kind"] not in layout.SHARED_KINDS or end["state"] != "done":
            raise StoreError(f"{what}: it is not a finished run of a kind that is shared")
        if unknown := set(job["arguments"]) - set(KINDS[job["kind"]].arguments):
            raise StoreError(f"{what}: its job has an argument {sorted(unknown)[0]!r:.40} that such jobs have not")
        self._check_arguments(job["arguments"], what)
        for wanted in _WANTED[job["kind"]]:
            if not (folder / wanted).is_file():
                raise StoreError(f"{what}: it has no {wanted}")
        for path in folder.iterdir():
            checks.check_file(path, f"{what}, {path.name}")
            if path.name in _SHAPES:
                value = checks.read_json(path.read_bytes(), what)
                checks.check_shape(value, _SHAPES[path.name], f"{what}, {path.name}")
        if job["kind"] == "fuse":
            report = checks.read_json((folder / "report.json").read_bytes(), what)
            if missing := {"seconds", "recipe", "spaces", "warnings", "seed"} - report.keys():
                raise StoreError(f"{what}, report.json: it has no {sorted(missing)[0]}")
            Recipe.from_mapping(report["recipe"])
        self._jobs[run] = {
            "job": {key: job[key] for key in FinishedJob.__annotations__},
            "end": {key: end[key] for key in FinishedRun.__annotations__},
        }

    def _check_arguments(self, arguments: Mapping[str, Any], what: str) -> None:
        """What a run's job names must be in the bundle, in this store, or built in."""
        known = {kind: {entry["id"] for entry in self._manifest[kind]} for kind in ("parents", "data")}
        for name in ("data", "test", "held_out"):
            value = arguments.get(name)
            if value is not None and not (isinstance(value, str) and value in {*BUILT_IN, *known["data"]}):
                raise StoreError(f"{what}: its data are not in the bundle")
        parents, base = arguments.get("parents"), arguments.get("base")
        if parents is not None and not (isinstance(parents, str) and parents in known["parents"]):
            raise StoreError(f"{what}: its parents are not in the bundle")
        if base is not None:
            digest, _, number = base.partition(".") if isinstance(base, str) else ("", "", "")
            there = digest in known["parents"] or _is_there(store.read_parents_summary, digest)
            if not there or not re.fullmatch(r"\d{1,2}", number, re.ASCII):
                raise StoreError(f"{what}: its base model is neither in the bundle nor in this store")
        recipe = arguments.get("recipe")
        if isinstance(recipe, dict):
            Recipe.from_mapping(recipe)
        elif recipe is not None and not (isinstance(recipe, str) and recipe.isprintable() and len(recipe) <= 100):
            raise StoreError(f"{what}: its recipe is neither a name nor a recipe")
        seed = arguments.get("seed")
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**31):
            raise StoreError(f"{what}: its seed is no seed")

    def _check_references(self, run: str) -> None:
        """A run that another one is about must be a fusion (of a map also the groups), in the bundle or this store."""
        job = self._jobs[run]["job"]
        for name in ("run", "from_run"):
            about = job["arguments"].get(name)
            if about is None:
                continue
            kinds = ("fuse", "explore") if (job["kind"], name) == ("embed", "run") else ("fuse",)
            if not isinstance(about, str) or about == run or self._kind_of(about) not in kinds:
                raise StoreError(f"run {run}: its {name} is no fusion of the bundle or of this store")

    def _kind_of(self, run: str) -> str:
        """The kind of a run of the bundle, or of a finished one of the store; '' if there is none."""
        if run in self._jobs:
            return str(self._jobs[run]["job"]["kind"])
        try:
            return store.read_job(run)["kind"] if store.read_status(run)["state"] == "done" else ""
        except StoreError:
            return ""

    def _check_text(self, kind: str, digest: str) -> None:
        content = (self._folder / "kept" / kind / digest).read_bytes()
        if len(content) > 4 * _MOST_TEXT:
            raise StoreError(f"a text kept as {kind} is too long")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise StoreError(f"a text kept as {kind} is no text") from None
        if kind != "selection":
            value = checks.read_json(content, f"a text kept as {kind}")
            if kind == "recipe":
                Recipe.from_mapping(value)
            else:
                read_edits(value)
        self._texts.append((kind, text))

    def _check_labels(self, digest: str) -> None:
        value = checks.read_json((self._folder / "labels" / f"{digest}.json").read_bytes(), "names of neurons")
        checks.check_shape(value, _LABELS, "names of neurons")
        if digest not in {entry["id"] for entry in self._manifest["parents"]}:
            raise StoreError("names of neurons are of parents that are not in the bundle")
        self._labels[digest] = value

    def keep(self) -> Imported:
        """Put everything into the store; where that fails half-way, what has been put there goes again."""
        found: Imported = {"parents": [], "data": [], "runs": [], "there": [], "texts": len(self._texts)}
        with contextlib.ExitStack() as undo:
            for digest, (_, summary) in self._parents.items():
                files = self._folder / "parents" / digest
                if _once(found, "parents", digest, (store.folder("parents") / digest).is_dir()):
                    store.save_parents(digest, _copier(files, "*.safetensors"), summary)
                    undo.callback(store.delete_set, "parents", digest)
            for digest, about in self._data.items():
                files = self._folder / "data" / digest
                if _once(found, "data", digest, (store.folder("data") / digest).is_dir()):
                    store.save_data(digest, _copier(files, "data.npz"), about)
                    undo.callback(store.delete_set, "data", digest)
            for run in self._jobs:
                if _once(found, "runs", run, (store.folder("runs") / run).is_dir()):
                    undo.callback(shutil.rmtree, store.folder("runs") / run, ignore_errors=True)
                    self._keep_run(run)
            for kind, text in self._texts:
                store.keep_text(kind, text)
            for digest, labels in self._labels.items():
                path = store.folder("labels") / f"{digest}.json"
                if not path.is_file():  # names that were given here stay
                    write_json(path, labels)
            undo.pop_all()
        return found

    def _keep_run(self, run: str) -> None:
        source, about = self._folder / "runs" / run, self._jobs[run]
        with staged_folder(store.folder("runs") / run) as stage:
            for path in source.iterdir():
                if path.name not in ("job.json", "end.json"):
                    shutil.copyfile(path, stage / path.name)
            write_json(stage / "job.json", {**about["job"], "owner": None})
            write_json(stage / "end-0.json", {**about["end"], "error": None})


def _summary(folder: Path, what: str) -> Any:
    path = folder / "summary.json"
    if not path.is_file():
        raise StoreError(f"{what} is not in the bundle")
    return checks.read_json(path.read_bytes(), what)


def _is_there(read: Callable[[str], Any], digest: str) -> bool:
    try:
        read(digest)
    except StoreError:
        return False
    return True


def _once(found: Imported, kind: str, digest: str, there: bool) -> bool:
    """Note one thing; whether it is new here."""
    found["there" if there else kind].append(digest)  # type: ignore[literal-required]
    return not there


def _copier(source: Path, names: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for path in source.glob(names):
            shutil.copyfile(path, folder / path.name)

    return write


def _needed(kind: str, name: str, digest: str, read: Callable[[str], Any], files: str) -> None:
    if not _is_there(read, digest):
        raise StoreError(
            f"the bundle names the {kind} {name!r:.60} by its digest alone, and this store has not got it; import its "
            f"files first ({files:.200})"
        )

