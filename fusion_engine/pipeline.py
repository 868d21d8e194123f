"""Fuse parents by a recipe: trace, verify, score, group, solve, refine, report."""

from __future__ import annotations

import copy
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import __version__
from .context import FusionContext, ProgressReport, Stopwatch
from .core import registry
from .core.errors import DataError, RecipeError
from .core.recipe import Recipe
from .core.types import Grouping, Progress, ProgressCallback, no_progress
from .data import Dataset, canonical_order, check_calibration, check_samples
from .evaluation import compare
from .graph import Trace, trace, verify
from .importance import score
from .parents import Parent, check_parents, module_for, same_widths, write_state
from .post import refine
from .presets import get_preset
from .solvers import solve
from .solvers.head import head
from .widths import Widths, plan_widths

__all__ = ["FusionResult", "fuse"]

# Shares of the whole job's progress bar, by stage, in order.
_SHARES = {
    "trace": 0.04,
    "verify": 0.04,
    "importance": 0.17,
    "grouping": 0.15,
    "solve": 0.3,
    "post": 0.2,
    "evaluate": 0.1,
}


@dataclass(frozen=True)
class FusionResult:
    """A fused network and everything known about how it came to be.

    state: the parents' canonical tensor names -> tensors. model: a copy of the parents' module with those weights,
    in eval mode. trace: the parents' common graph. groupings: space -> Grouping. importance: space (and 'output')
    -> k arrays. report: see the command line's report.json.
    """

    state: dict[str, Tensor]
    model: nn.Module
    groupings: dict[str, Grouping]
    importance: dict[str, list[np.ndarray]]
    report: dict[str, Any]
    recipe: Recipe
    trace: Trace = field(repr=False)
    parents: tuple[Parent, ...] = field(repr=False, default=())

    def save(self, folder: str | Path) -> None:
        """Write fused.safetensors (with the parents' own tensor names), recipe.yaml, report.json, groupings.npz."""
        from .store.results import write_result

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_state(path / "fused.safetensors", self.file_state(), self.metadata())
        write_result(path, self.recipe.to_yaml(), self.report, self.groupings, self.importance)

    def file_state(self) -> dict[str, Tensor]:
        """The fused state under the names of the first parent's file, so that it loads in the parents' code."""
        names = self.parents[0].key_map if self.parents else {}
        return {names.get(name, name): tensor for name, tensor in self.state.items()}

    def metadata(self) -> dict[str, str]:
        """Text metadata of the fused file."""
        return {"fused_by": f"neuron-fusion-lab {__version__}", "recipe": self.recipe.to_yaml()}


def fuse(
    parents: Sequence[Parent],
    data: Dataset,
    recipe: str | Recipe | Mapping[str, Any] = "kf_linear",
    *,
    seed: int = 0,
    test: Dataset | None = None,
    on_progress: ProgressCallback = no_progress,
    device: str = "cpu",
) -> FusionResult:
    """Fuse 1 to 8 parents of one architecture into one network.

    data: calibration samples. recipe: a preset's name, a Recipe or its mapping. test: if given, the report holds
    accuracies of parents, references and the fused model. Results depend on the set of samples and the seed, not
    on the order of the samples. Parents and data are never modified. Raises FusionError subclasses with one line
    that says what to do; `Cancelled` if `on_progress` raises it.
    """
    progress, watch = _overall(on_progress), Stopwatch()
    chosen, notes = _recipe(recipe), list(check_parents(parents, minimum=1))
    where = _device(device)
    check_calibration(data, parents[0].classes, parents[0].input_shape)
    if test is not None:
        check_samples(test, parents[0].classes, parents[0].input_shape)
    counts = [p.metadata.class_counts for p in parents]
    known = all(c is not None for c in counts)
    available = {name for name, there in (("labels", data.y is not None), ("class_counts", known)) if there}
    chosen = chosen.checked(len(parents), available)
    if len(parents) > 1 and not same_widths(parents) and registry.get("grouping", chosen.grouping.method).pairs:
        raise RecipeError(
            f"the parents have different widths and grouping {chosen.grouping.method!r} pairs neurons one to one; "
            "use grouping 'kmeans'"
        )
    if data.y is None and chosen.importance.method not in ("uniform", "activation"):
        notes.append("the calibration data has no labels: each parent's own predictions stand in for them")
    data = canonical_order(data)
    states = tuple({n: t.to(where) for n, t in p.state.items()} for p in parents)

    with watch.stage("total"):
        widths = _traced(parents, data, chosen.width, seed, watch, progress)
        graph = widths.trace
        notes += [*graph.warnings, *widths.notes]
        with watch.stage("importance"):
            scores = [
                score(
                    graph,
                    state,
                    data,
                    chosen.importance.method,
                    chosen.importance.parameters,
                    on_progress=_scoring(progress, p, parents),
                    device=where,
                )
                for p, state in enumerate(states)
            ]
        context = FusionContext(
            trace=graph,
            states=states,
            data=data,
            importance=tuple(scores),
            grouping=chosen.grouping,
            seed=seed,
            device=where,
            class_counts=np.array(counts) if known else None,
            watch=watch,
            progress=progress,
            notes=notes,
            sizes=widths.sizes,
            reserve=_is_judged_later(chosen),
        )
        solved, groupings = solve(context, chosen.solver.method, chosen.solver.parameters)
        fused = solved
        for i, step in enumerate(chosen.post):
            part = replace(context, progress=_part(progress, i, len(chosen.post)), groupings=groupings)
            fused = refine(part, fused, step.method, step.parameters)
        if context.reserve and chosen.post and all(torch.equal(fused[name], solved[name]) for name in fused):
            # Training brought nothing: then the held-out samples are free to be solved for.
            again = replace(context, reserve=False, notes=[])
            fused, groupings = solve(again, chosen.solver.method, chosen.solver.parameters)
    fused = {name: fused[name].detach().cpu() for name in parents[0].state}
    references: dict[str, Any] = {}
    if test is not None:
        with watch.stage("evaluate"):
            progress("evaluate", 0.0, "comparing with the references on the test data")
            references = compare(parents, fused, test, head(context, "importance").weights, device=where)
    progress("evaluate", 1.0, "done")
    model = copy.deepcopy(module_for(parents, fused))
    model.load_state_dict(fused)
    return FusionResult(
        state=fused,
        model=model.eval(),
        groupings=groupings,
        importance={name: [s[name].double().cpu().numpy() for s in scores] for name in scores[0]},
        report={**references, **_facts(context, groupings, chosen), "width": _width(parents, model, chosen)},
        recipe=chosen,
        trace=graph,
        parents=tuple(parents),
    )


def _traced(
    parents: Sequence[Parent], data: Dataset, width: float, seed: int, watch: Stopwatch, progress: ProgressReport
) -> Widths:
    """The parents' common graph, checked on every parent: neurons can be exchanged without changing a function."""
    example = (data.normalised(slice(0, 2)),)
    with watch.stage("trace"):
        progress("trace", 0.0, "tracing the architecture")
        widths = plan_widths(parents, trace(parents[0].model, example), example[0], width)
    with watch.stage("verify"):
        for p, parent in enumerate(parents):
            progress("verify", p / len(parents), f"checking that neurons of {parent.name} can be exchanged")
            verify(widths.trace.fitting(parent.state), parent.state, example, seed=seed)
    return widths


def _is_judged_later(recipe: Recipe) -> bool:
    """Whether weights are trained after the solve and stopped early by the held-out samples."""
    specs = [registry.get("solver", recipe.solver.method), *(registry.get("post", s.method) for s in recipe.post)]
    return any("gradients" in spec.needs for spec in specs)


def _width(parents: Sequence[Parent], model: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """The report's entry about size: weights of the fused network and of every parent."""
    counts = [sum(p.numel() for p in m.parameters()) for m in (model, *(parent.model for parent in parents))]
    return {"relative": recipe.width, "parameters": counts[0], "parents_parameters": counts[1:]}


def _facts(context: FusionContext, groupings: Mapping[str, Grouping], recipe: Recipe) -> dict[str, Any]:
    """The report but for the accuracies."""
    graph, data = context.trace, context.data
    return {
        "seconds": _seconds(context.watch),
        "peak_memory_mb": round(_peak_memory_mb(), 1),
        "recipe": recipe.to_mapping(),
        "spaces": [
            {
                "name": s.name,
                "size": groupings[s.name].size,
                "freedom": s.freedom,
                "grouping": groupings[s.name].method,
                "fallback": str(groupings[s.name].info.get("fallback", "")),
            }
            for s in graph.spaces.values()
        ],
        "levels": [
            {"name": level.name, "layers": list(level.layers), "tensors": list(level.tensors)} for level in graph.levels
        ],
        "decisions": context.decisions,
        "warnings": context.notes,
        "calibration": {"samples": len(data), "digest": data.digest, "labels": data.y is not None},
        "versions": _versions(),
        "seed": context.seed,
    }


def _recipe(recipe: str | Recipe | Mapping[str, Any]) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    return get_preset(recipe).recipe if isinstance(recipe, str) else Recipe.from_mapping(recipe)


def _device(name: str) -> torch.device:
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError("this machine has no CUDA device; use device 'cpu'")
    return torch.device(name)


def _overall(on_progress: ProgressCallback) -> ProgressReport:
    """Stage fractions to one fraction of the whole job that never falls."""
    starts = dict(zip(_SHARES, np.cumsum([0.0, *_SHARES.values()]), strict=False))
    reached = 0.0

    def report(stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
        nonlocal reached
        reached = max(reached, round(float(starts[stage] + _SHARES[stage] * min(max(fraction, 0.0), 1.0)), 6))
        on_progress(Progress(stage, reached, message, detail or {}))

    return report


def _part(progress: ProgressReport, index: int, count: int) -> ProgressReport:
    """The share of one of several steps within a stage."""

    def report(stage: str, fraction: float, message: str, detail: Mapping[str, Any] | None = None) -> None:
        progress(stage, (index + fraction) / count, message, detail)

    return report


def _scoring(progress: ProgressReport, parent: int, parents: Sequence[Parent]) -> ProgressCallback:
    """A parent's share of the importance stage."""
    message = f"scoring the neurons of {parents[parent].name}"
    return lambda event: progress("importance", (parent + event.fraction) / len(parents), message)


def _seconds(watch: Stopwatch) -> dict[str, float]:
    names = ("trace", "verify", "importance", "grouping", "solve", "post", "evaluate")
    seconds = {name: round(watch.seconds.get(name, 0.0), 4) for name in names}
    # What the inner stages took is not in the outer stage's own time.
    total = sum(watch.seconds.get(n, 0.0) for n in ("total", *names) if n != "evaluate")
    return {"load": 0.0, **seconds, "total": round(total, 4)}


def _peak_memory_mb() -> float:
    """Peak resident memory of this process in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _versions() -> dict[str, str]:
    return {
        "neuron_fusion_lab": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
