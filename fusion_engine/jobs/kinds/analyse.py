"""Job analyse: why a fusion of these parents is, or would be, good or bad."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.analysis import analyse
from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.store.files import write_json

from ..fusions import fused_of_run, fusion_job
from ..inputs import read_data, read_parents, whole_number


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json; see docs/architecture.md."""
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = None if arguments.get("samples") is None else whole_number(arguments, "samples", 1, 1, 10**9)
    what = arguments.get("what")
    if what is not None and not (isinstance(what, list) and all(isinstance(name, str) for name in what)):
        raise JobError("what must be a list of analyses, such as ['connectivity', 'budget']")
    fusion = arguments.get("run")
    if fusion is not None and fusion_job(fusion)["parents"] != arguments["parents"]:
        raise JobError("this fusion was made of other parents; give the parents it was made of")
    progress.part(0.0, 1.0, "load").report(0.0, "Reading parents and data")
    parents = read_parents(arguments["parents"])
    fused = None if fusion is None else fused_of_run(fusion, parents)
    data = read_data(arguments["data"], samples, seed)
    report = analyse(
        parents, data, fused=fused, what=what, align=arguments.get("align") or "balanced", seed=seed,
        device=arguments.get("device") or "cpu", on_progress=progress.part(0.05, 1.0),
    )  # fmt: skip
    write_json(folder / "result.json", report)
