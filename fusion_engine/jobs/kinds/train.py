"""Job train: train parents of our own and keep them as a parent set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.core.progress import Progress
from fusion_engine.store.files import write_json
from fusion_engine.training import train_parents

from ..inputs import read_data, whole_number
from ..shapes import ImportedParents
from .import_parents import keep_parents


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Train, keep, and write result.json; see docs/architecture.md."""
    arch = arguments.get("arch") or "mlp"
    regime = arguments.get("regime") or "non_iid"
    progress.part(0.0, 1.0, "load").report(0.0, "Reading the data")
    data = read_data(arguments.get("data") or "digits:train", y_required=True)
    parents = train_parents(
        arch,
        data,
        parents=whole_number(arguments, "parents", 2, 2, 8),
        regime=regime,
        seed=whole_number(arguments, "seed", 0, 0, 2**31 - 1),
        epochs=whole_number(arguments, "epochs", 20, 1, 10_000),
        on_progress=progress,
    )
    name = arguments.get("name") or f"{len(parents)} x {parents[0].architecture}, {regime}, {data.name}"
    summary = keep_parents(parents, str(name))
    result: ImportedParents = {"parents": summary["id"], "summary": summary, "errors": []}
    write_json(folder / "result.json", result)
