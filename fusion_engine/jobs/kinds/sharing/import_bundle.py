"""Job import_bundle: an uploaded bundle comes into the store, or is refused in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.core.errors import StoreError
from fusion_engine.core.progress import Progress
from fusion_engine.store.files import write_json

from ...bundle import import_bundle


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json: what came in, by id."""
    files = store.upload_files(arguments["upload"])
    if len(files) != 1:
        raise StoreError("give one bundle at a time")
    (shown, path), *_ = files
    try:
        write_json(folder / "result.json", import_bundle(path, name=shown, on_progress=progress))
    finally:
        store.remove_upload(arguments["upload"])
