"""Job import_parents: uploaded files, a set of demo parents or files of this machine become a parent set."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_engine import store
from fusion_engine.architectures import is_custom, library_of
from fusion_engine.core.errors import FusionError, JobError, ParentError
from fusion_engine.core.progress import Progress
from fusion_engine.core.registry import nearest
from fusion_engine.demo import demo_files
from fusion_engine.parents import MAX_PARENTS, Parent, assumptions, load_parent, remarks, save_parent, title
from fusion_engine.store.files import write_json
from fusion_engine.store.shapes import ParentsSummary

from ..inputs import displayed, one_of, read_shape
from ..shapes import FileError, ImportedParents
from ..shards import whole_parents

_DEMOS = {"digits": "mlp", "digits_vgg": "vgg"}
_METADATA = "parents.json"
_METADATA_LIMIT = 1024**2


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> str | None:
    """Read every file on its own, so that each bad one gets its line; see docs/architecture.md."""
    arch = arguments.get("arch") or "auto"
    if is_custom(arch):
        raise JobError("code is never imported by the app; use the command line for your own modules")
    if library_of(arch) == "hf" and arch.partition(":")[2]:
        raise JobError("the app reads the config.json that lies beside the weights; write hf, and give them as one zip")
    shape, weights = read_shape(arguments), arguments.get("weights") or None
    source = one_of(arguments, "upload", "demo", "paths")
    files = _files(source, arguments[source])
    parents: list[Parent] = []
    errors: list[FileError] = []
    for (shown, path), _ in progress.part(0.0, 1.0, "read").each(files, lambda file: f"Reading {file[0]}"):
        try:
            parent = load_parent(path, arch, input_shape=None if shape is None else tuple(shape), weights=weights)
            parents.append(replace(parent, name=_unique(shown, [p.name for p in parents])))
        except FusionError as error:
            errors.append({"file": shown, "error": displayed(error, path.name, shown)})
    if not errors and arguments.get("base") and len(parents) != 1:
        errors.append({"file": "", "error": f"a base model is one file, not {len(parents)}"})
    elif not errors and not arguments.get("base") and not 2 <= len(parents) <= MAX_PARENTS:
        errors.append({"file": "", "error": f"fusing takes 2 to {MAX_PARENTS} parents, not {len(parents)}"})
    summary = None if errors else keep_parents(parents, str(arguments.get("name") or _title(parents)))
    if source == "upload" and not errors:
        store.remove_upload(arguments["upload"])
    parent_set = None if summary is None else summary["id"]
    result: ImportedParents = {"parents": parent_set, "summary": summary, "errors": errors}
    write_json(folder / "result.json", result)
    if errors:
        return errors[0]["error"] if len(errors) == 1 else f"{len(errors)} files could not be used; see each file"
    return None


def keep_parents(parents: Sequence[Parent], name: str) -> ParentsSummary:
    """Put a parent set into the store, unless it is there, and return its summary."""
    digest = parents_digest(parents)

    def write(folder: Path) -> None:
        for number, parent in enumerate(parents):
            save_parent(folder / f"parent_{number}.safetensors", parent)

    store.save_parents(digest, write, parents_summary(parents, name, digest))
    return store.read_parents_summary(digest)


def parents_digest(parents: Sequence[Parent]) -> str:
    """The id of a parent set, which its content decides."""
    return store.content_digest(
        part
        for p in parents
        for counts in [p.metadata.class_counts]
        for part in (
            p.name, p.digest, json.dumps([p.architecture.name, p.architecture.as_json()]), json.dumps(counts),
            *_form(p),
        )
    )


def _form(parent: Parent) -> list[str]:
    """What else tells one file of the same weights from another: its types, what lies beside them, what is said."""
    form = [*map(str, parent.dtypes.items()), *parent.beside, *parent.copies, *parent.metadata.reading]
    return [json.dumps([*form, *parent.key_map.values()])] if form else []


def parents_summary(parents: Sequence[Parent], name: str, digest: str) -> ParentsSummary:
    """The summary kept with a parent set."""
    first = parents[0]
    return {
        "id": digest,
        "name": name,
        "architecture": str(first.architecture),
        "classes": first.classes,
        "input_shape": list(first.input_shape),
        "created": time.time(),
        "parents": [
            {
                "name": p.name,
                "file": f"parent_{number}.safetensors",
                "architecture": str(p.architecture),
                "digest": p.digest,
                "parameters": sum(t.numel() for t in p.model.parameters()),
                "class_counts": p.metadata.class_counts,
                "training": dict(p.metadata.training),
                "layers": [
                    {"name": tensor, "shape": list(value.shape), "parameters": value.numel(),
                     "own": p.key_map.get(tensor, "")} for tensor, value in p.state.items()
                ],
            }
            for number, p in enumerate(parents)
        ],
        "warnings": [*remarks(parents), *assumptions(parents)],
    }


def _files(source: str, value: Any) -> list[tuple[str, Path]]:
    """(name to show, path) of each parent's file."""
    if source == "demo":
        if value not in _DEMOS:
            raise JobError(f"there is no demo {value!r}{nearest(str(value), _DEMOS)}")
        return [(path.name, path) for path in demo_files(_DEMOS[value])]
    if source == "paths":
        if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
            raise JobError("paths must be a list of file names")
        return [(Path(path).name, Path(path)) for path in value]
    files = store.upload_files(value)
    parents = whole_parents([(shown, path) for shown, path in files if path.name != _METADATA])
    metadata = next((path for _, path in files if path.name == _METADATA), None)
    if metadata is not None:
        _rename_in_metadata(metadata, [*files, *parents])
        for folder in {path.parent for _, path in parents if path.is_file()} - {metadata.parent}:
            shutil.copyfile(metadata, folder / _METADATA)
    return parents


def _rename_in_metadata(metadata: Path, files: Sequence[tuple[str, Path]]) -> None:
    """Make an uploaded parents.json speak of the files by the names under which they are kept."""
    stored = {PurePosixPath(shown).stem: path.name for shown, path in files}
    stored |= {shown: path.name for shown, path in files}
    if metadata.stat().st_size > _METADATA_LIMIT:
        raise ParentError("parents.json: larger than 1 MB; it should hold class counts only")
    try:
        content = json.loads(metadata.read_bytes())
        for entry in content["parents"]:
            named = entry["file"]
            entry["file"] = stored.get(named) or stored.get(PurePosixPath(named).stem, named)
    except (ValueError, KeyError, TypeError):
        raise ParentError('parents.json: write {"parents": [{"file": ..., "class_counts": [...]}]}') from None
    write_json(metadata, content)


def _unique(file: str, taken: Sequence[str]) -> str:
    """The file's name without its ending, numbered where another parent has it."""
    stem = title(file) or file
    candidates = [stem, *(f"{stem} ({n})" for n in range(2, 10))]
    return next(name for name in candidates if name not in taken)


def _title(parents: Sequence[Parent]) -> str:
    if len(parents) == 1:
        return parents[0].name
    return f"{len(parents)} x {parents[0].architecture}"
