"""Job difference: how two networks differ, parents or fused ones, of one parent set or of two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_engine.analysis import compare_networks
from fusion_engine.analysis.shapes import Difference
from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.exploration.shapes import Structure
from fusion_engine.exploration.structure import described
from fusion_engine.store.files import write_json

from ...fusions import network_of
from ...inputs import read_data, whole_number


class Differing(Difference):
    """result.json. structure: of the first network. input_shape: of a sample."""

    structure: Structure
    input_shape: list[int]


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json. first, second: the id of a fuse run, or a parent set's id, a dot and a number."""
    names = [arguments.get(key) for key in ("first", "second")]
    if not all(isinstance(name, str) for name in names):
        raise JobError("first and second must name networks: a run's id, or a parent set's id, a dot and a number")
    if names[0] == names[1]:
        raise JobError("a network does not differ from itself; choose another")
    progress.part(0.0, 1.0, "load").report(0.0, "Reading networks and data")
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = None if arguments.get("samples") is None else whole_number(arguments, "samples", 1, 1, 10**9)
    first, second = (network_of(str(name)) for name in names)
    data = read_data(arguments["data"], samples, seed) if arguments.get("data") else None
    report, graph, read = compare_networks(
        first, second, data, align=arguments.get("align") or "auto", seed=seed,
        device=arguments.get("device") or "cpu", on_progress=progress.part(0.05, 1.0),
    )  # fmt: skip
    result: Differing = {
        **report, "structure": described(graph, read.state, 2), "input_shape": list(read.input_shape),
    }
    write_json(folder / "result.json", result)
