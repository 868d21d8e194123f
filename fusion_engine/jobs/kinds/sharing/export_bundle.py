"""Job export_bundle: runs with their parents and data as bundle.zip."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.store.files import write_json

from ...bundle import export_bundle


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write bundle.zip and result.json: its manifest."""
    manifest = export_bundle(
        folder / "bundle.zip", arguments.get("parents"), arguments.get("runs"),
        with_parents=arguments.get("with_parents", True), with_data=arguments.get("with_data", True),
        on_progress=progress,
    )
    write_json(folder / "result.json", manifest)
