"""Job evaluate: how good parents, their references and a fused network are on labelled data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.evaluation import compared
from fusion_engine.parents import canonical_state, check_parents, read_safetensors, settled
from fusion_engine.stats import checked_device
from fusion_engine.store.files import write_json
from fusion_engine.store.results import write_predictions

from ..inputs import calibration, one_of, read_data, read_parents
from ..shapes import Evaluated


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json and, of classes, predictions.npz; see docs/architecture.md."""
    fused, run, parent_set = None, None, arguments.get("parents")
    if one_of(arguments, "parents", "run") == "run":
        run = store.read_job(arguments["run"])
        if run["kind"] != "fuse":
            raise JobError("only a fusion has a network to evaluate; give the id of a fuse run")
        parent_set = run["arguments"]["parents"]
    progress.part(0.0, 1.0, "load").report(0.05, "Reading models and data")
    parents = read_parents(str(parent_set))
    data = read_data(arguments["data"], y_required=True)
    parents, _ = settled(parents, data if run is None else calibration(run["arguments"]))
    check_parents(parents, minimum=1)
    if arguments.get("run"):
        tensors, _ = read_safetensors(store.result_path(arguments["run"], "fused.safetensors"))
        fused = canonical_state(parents[0], tensors)
    progress.part(0.0, 1.0, "evaluate").report(0.2, f"Evaluating on {len(data):,} samples")
    found, answers = compared(parents, fused, data, device=checked_device(arguments.get("device") or "cpu"))
    models = [{"name": entry.pop("file"), **entry} for entry in found.pop("parents")]
    if fused is not None:
        models.append({"name": "fused", **found["fused"]})
    result: Evaluated = {"models": models, **found}  # type: ignore[typeddict-item]
    if answers is not None:
        write_predictions(folder, answers.as_arrays())
    write_json(folder / "result.json", result)
