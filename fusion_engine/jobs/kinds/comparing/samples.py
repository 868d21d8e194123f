"""Job samples: some samples of a data set, as a page shows them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.exploration.passport.samples import shown
from fusion_engine.store.files import write_json

from ...inputs import read_data
from ...shapes import Shown

MOST = 60


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write samples.npz, `samples` (n, channels, height, width) uint8, or (n, ...) float32 rows or int64 tokens, in the
    order of `indices`; and result.json."""
    indices = arguments.get("indices")
    if not isinstance(indices, list) or not 0 < len(indices) <= MOST or not all(type(i) is int for i in indices):
        raise JobError(f"indices must be a list of 1 to {MOST} whole numbers")
    progress.part(0.0, 1.0, "load").report(0.1, "Reading data")
    data = read_data(arguments["data"])
    if not 0 <= min(indices) <= max(indices) < len(data):
        raise JobError(f"{data.name} has samples 0 to {len(data) - 1:,}; sample {max(indices)} is not among them")
    samples, kind, notes = shown(data, np.array(indices))
    np.savez(folder / "samples.npz", samples=samples)
    result: Shown = {"kind": kind, "notes": notes}
    write_json(folder / "result.json", result)
