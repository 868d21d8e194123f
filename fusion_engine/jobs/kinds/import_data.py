"""Job import_data: an uploaded file or built-in data becomes a data set of the store."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.core.errors import DataError, FusionError
from fusion_engine.core.progress import Progress
from fusion_engine.data import Dataset, load_data, save_npz
from fusion_engine.store.files import write_json
from fusion_engine.store.shapes import DataSummary

from ..inputs import BUILT_IN, displayed, one_of, read_data
from ..shapes import ImportedData


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Read, check and keep the data; see docs/architecture.md for arguments and result."""
    progress.part(0.0, 1.0, "read").report(0.1, "Reading the data")
    if one_of(arguments, "upload", "source") == "upload":
        data, name = _uploaded(arguments["upload"])
    elif arguments["source"] in BUILT_IN:
        data, name = read_data(arguments["source"]), arguments["source"]
    else:
        raise DataError(f"there is no built-in data {arguments['source']!r}; there are {', '.join(BUILT_IN)}")
    progress.part(0.0, 1.0, "keep").report(0.6, "Keeping the data")
    summary = keep_data(data, str(arguments.get("name") or name))
    if arguments.get("upload"):
        store.remove_upload(arguments["upload"])
    result: ImportedData = {"data": summary["id"], "summary": summary}
    write_json(folder / "result.json", result)


def keep_data(data: Dataset, name: str) -> DataSummary:
    """Put a data set into the store, unless it is there, and return its summary."""
    digest = store.content_digest([data.digest])
    store.save_data(digest, lambda folder: save_npz(folder / "data.npz", data), data_summary(data, name, digest))
    return store.read_data_summary(digest)


def data_summary(data: Dataset, name: str, digest: str) -> DataSummary:
    """The summary kept with a data set."""
    return {
        "id": digest,
        "name": name,
        "samples": len(data),
        "shape": list(data.input_shape),
        "dtype": str(data.x.dtype).removeprefix("torch."),
        "classes": data.classes,
        "counts": data.counts.tolist() if data.is_classified else None,
        "labelled": data.y is not None,
        "mean": None if data.mean is None else data.mean.tolist(),
        "std": None if data.std is None else data.std.tolist(),
        "created": time.time(),
    }


def _uploaded(upload: str) -> tuple[Dataset, str]:
    files = store.upload_files(upload)
    data_files = [(name, path) for name, path in files if not path.name.startswith("labels-")]
    if len(data_files) != 1:
        raise DataError("give one file: an .npz, a zip of class folders, or IDX images (with their labels file)")
    name, path = data_files[0]
    try:
        return load_data(path, y_required=False), name
    except FusionError as error:
        raise DataError(displayed(error, path.name, name)) from None
