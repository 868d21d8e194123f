"""Job scores: the importance of every neuron by several methods, as an exploration would compute each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.exploration.score_tables import all_scores, offered_methods
from fusion_engine.store.files import write_json

from ...inputs import read_data, read_parents, whole_number
from ...shapes import Scored
from ...statistics import statistics


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write scores.npz: `<method>|<space>|<parent>`, (n_p,) float64; and result.json."""
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = whole_number(arguments, "samples", 400, 1, 10**9)
    asked = arguments.get("importances")
    if asked is not None and not (isinstance(asked, list) and asked and all(isinstance(name, str) for name in asked)):
        raise JobError("importances must be a list of methods, such as ['activation', 'conductance']")
    progress.part(0.0, 1.0, "load").report(0.0, "Reading parents and data")
    parents, data = read_parents(arguments["parents"]), read_data(arguments["data"], samples, seed)
    methods = list(dict.fromkeys(asked or offered_methods()))
    found, skipped = all_scores(
        parents, data, methods, seed=seed, progress=progress.part(0.02, 1.0), cache=statistics()
    )
    arrays = {
        f"{method}|{space}|{parent}": values
        for method, spaces in found.items()
        for space, by_parent in spaces.items()
        for parent, values in enumerate(by_parent)
    }
    np.savez(folder / "scores.npz", **arrays)  # type: ignore[arg-type]
    result: Scored = {"methods": list(found), "skipped": skipped}
    write_json(folder / "result.json", result)
