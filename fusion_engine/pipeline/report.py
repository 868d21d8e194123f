"""What a fusion's report says but for the accuracies: times, memory, spaces, levels, decisions, versions."""

import platform
import resource
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..core.types import Grouping
from ..evaluation import about
from ..fusing import RunLog, Stopwatch
from ..graph import Trace
from ..parents import Parent
from ..stats import SharedStatistics
from .prepare import Prepared
from .shapes import Report, Width


def width(parents: Sequence[Parent], model: nn.Module, graph: Trace, groupings: Mapping[str, Grouping]) -> Width:
    """The report's entry about size: hidden neurons of the fused network over the first parent's, all spaces together,
    and the weights of the fused network and of every parent."""
    made = [groupings[s.name] for s in graph.spaces.values() if not s.block]
    own = sum(g.widths[0] for g in made)
    counts = [sum(p.numel() for p in m.parameters()) for m in (model, *(parent.model for parent in parents))]
    return {
        "relative": round(sum(g.size for g in made) / own, 4) if own else 1.0,
        "parameters": counts[0],
        "parents_parameters": counts[1:],
    }


def facts(prepared: Prepared, groupings: Mapping[str, Grouping], log: RunLog) -> Report:
    """The report but for the accuracies."""
    graph, data = prepared.inputs.trace, prepared.inputs.data
    return {
        "seconds": _seconds(log.watch, prepared.statistics),
        "shared": prepared.statistics.reused,
        "peak_memory_mb": round(process_peak_mb(), 1),
        "recipe": prepared.recipe.to_mapping(),
        "spaces": [
            {
                "name": s.name, "size": groupings[s.name].size, "freedom": s.freedom,
                "grouping": groupings[s.name].method, "fallback": str(groupings[s.name].info.get("fallback", "")),
            }
            for s in graph.spaces.values()
        ],
        "levels": [
            {"name": level.name, "layers": list(level.layers), "tensors": list(level.tensors)} for level in graph.levels
        ],
        "decisions": log.decisions,
        "warnings": log.notes,
        **({} if prepared.inputs.task is None else {"task": dict(about(prepared.inputs.task))}),
        "calibration": {"samples": len(data), "digest": data.digest, "labels": data.y is not None},
        "versions": versions(),
        "seed": prepared.inputs.seed,
    }


def versions() -> dict[str, str]:
    """Of what the bits of a result depend on."""
    return {
        "neuron_fusion_lab": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "numpy": np.__version__,
    }  # fmt: skip


def _seconds(watch: Stopwatch, shared: SharedStatistics) -> dict[str, float]:
    """Seconds by stage. Waiting for another fusion that computes the same is nobody's time; what was not computed as
    another fusion had done it is 'shared', beside the total that was spent."""
    names = ("trace", "verify", "importance", "grouping", "solve", "post", "evaluate")
    spent = {n: watch.seconds.get(n, 0.0) - shared.waited.get(n, 0.0) for n in ("total", *names)}
    # What the inner stages took is not in the outer stage's own time.
    total = sum(seconds for name, seconds in spent.items() if name != "evaluate")
    stages = {name: round(spent[name], 4) for name in names}
    return {"load": 0.0, **stages, "total": round(total, 4), "shared": round(shared.seconds, 4)}


def process_peak_mb() -> float:
    """Peak resident memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
