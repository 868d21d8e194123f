"""Job preflight: can these parents be fused, and what are they made of?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fusion_engine.core.errors import FusionError, JobError
from fusion_engine.core.types import Progress, ProgressCallback, Space
from fusion_engine.graph import Trace, trace, verify_all
from fusion_engine.parents import Parent, check_parents
from fusion_engine.store.files import write_json

from .exploration import level_of, levels_json
from .inputs import read_parents, whole_number

__all__ = ["inspect", "run"]


def run(arguments: Mapping[str, Any], folder: Path, on_progress: ProgressCallback) -> None:
    """Write result.json; see docs/architecture.md."""
    on_progress(Progress("load", 0.05, "Reading the parents"))
    parents = read_parents(arguments["parents"])
    shape = arguments.get("input_shape")
    if shape is not None and not (
        isinstance(shape, list) and shape and all(isinstance(n, int) and 0 < n < 10**6 for n in shape)
    ):
        raise JobError("input_shape must be a list of positive whole numbers, such as [3, 32, 32]")
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    write_json(folder / "result.json", inspect(parents, shape, seed, on_progress))


def inspect(
    parents: Sequence[Parent], input_shape: Sequence[int] | None, seed: int, on_progress: ProgressCallback
) -> dict[str, Any]:
    """The preflight of `parents`: compatibility, spaces, levels, layers, and the permutation test of each parent.

    input_shape: of one sample; None takes the one recognised with the architecture. A reason why the parents
    cannot be fused is in "error"; what can still be said about them is there all the same.
    """
    started = time.perf_counter()
    matrix = [[_pair(a, b) for b in parents] for a in parents]
    result: dict[str, Any] = {"ok": False, "error": None, "matrix": matrix}
    result |= {"spaces": [], "levels": [], "layers": [], "verify": {}, "sensitivity": None, "warnings": []}
    try:
        result["warnings"] += check_parents(parents, minimum=1)
        shape = tuple(input_shape or parents[0].input_shape)
        example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
        on_progress(Progress("trace", 0.1, "Tracing the architecture"))
        graph = trace(parents[0].model, (example,))
        result |= _described(graph, parents)
        result["warnings"] += graph.warnings
        on_progress(Progress("verify", 0.3, "Permuting the parents' neurons"))
        reports = verify_all(graph, [p.state for p in parents], (example,), seed=seed)
        # All spaces are permuted at once, so each is known to be at most as far off as all together.
        result["verify"] = dict.fromkeys(reports[0].spaces, max(r.difference for r in reports))
        result["sensitivity"] = min(r.sensitivity for r in reports)
        result["warnings"] += sorted({line for r in reports for line in r.warnings})
        result["ok"] = True
    except FusionError as error:
        result["error"] = str(error)
    result["seconds"] = round(time.perf_counter() - started, 3)
    return result


def _pair(a: Parent, b: Parent) -> dict[str, Any]:
    """One cell of the compatibility matrix."""
    if a is b:
        return {"ok": True, "reason": ""}
    try:
        check_parents([a, b])
    except FusionError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True, "reason": "same architecture"}


def _described(graph: Trace, parents: Sequence[Parent]) -> dict[str, Any]:
    state = parents[0].state
    return {
        "spaces": [_space(graph, space, len(parents)) for space in graph.spaces.values()],
        "levels": levels_json(graph),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "space": layer.space,
                "weight": layer.weight,
                "shape": list(state[layer.weight].shape),
                "parameters": sum(
                    state[name].numel() for name in (layer.weight, layer.bias) if name is not None
                ),
                "level": next((level.index for level in graph.levels if layer.name in level.layers), None),
            }
            for layer in graph.layers.values()
        ],
    }


def _space(graph: Trace, space: Space, parents: int) -> dict[str, Any]:
    return {
        "name": space.name,
        "size": space.size,
        "sizes": [space.size] * parents,
        "freedom": space.freedom,
        "block": space.block,
        "level": level_of(graph, space),
        "members": [{"tensor": m.tensor, "dims": list(m.dims), "role": m.role} for m in space.members],
    }
